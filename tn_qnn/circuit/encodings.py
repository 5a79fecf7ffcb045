"""Ready-made encodings: circuits whose angles are polynomials of the features."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from tn_qnn.circuit.ansatz.blocks import (
    BlockFunction,
    append_gates,
    as_block,
    check_gates,
    num_angles,
)
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import Graph, as_graph, check_count, complete
from tn_qnn.circuit.slots import Expr, feature, weight
from tn_qnn.errors import CircuitError


def angle(
    n: int, axis: str = "y", scale: float = math.pi, features: Sequence[int] | None = None
) -> Circuit:
    """Angle encoding: one feature a qubit, as a rotation by ``scale * x``.

    With the default scale, features in [0, 1] turn ``|0>`` as far as ``|1>``. A rotation about z
    leaves ``|0>`` as it is: put other gates (``h``, say) before it.

    Parameters
    ----------
    n : int
        Number of qubits.
    axis : {"x", "y", "z"}
        Axis of the rotation.
    scale : float
        Angle for a feature of 1, in radians.
    features : sequence of int, optional
        Index of the feature of each qubit; by default qubit i takes feature i.

    Returns
    -------
    Circuit
        With no weights.

    Raises
    ------
    CircuitError
        If `n` is below 1, `axis` is unknown or `features` does not have one index a qubit.

    References
    ----------
    Stoudenmire, Schwab, NeurIPS 29 (2016); Schuld, Killoran, Phys. Rev. Lett. 122, 040504 (2019).

    Examples
    --------
    >>> print(angle(2, scale=1.5).draw())
    q0: ─┤RY(1.5·x0)├─
    <BLANKLINE>
    q1: ─┤RY(1.5·x1)├─
    """
    if axis not in ("x", "y", "z"):
        raise CircuitError(f"axis must be 'x', 'y' or 'z', got {axis!r}")
    circuit = Circuit(check_count("n", n, 1))
    for qubit, index in enumerate(_feature_indices(features, n)):
        circuit.append(f"r{axis}", [qubit], [scale * feature(index)])
    return circuit


def dense_angle(n: int, scale: float = math.pi, features: Sequence[int] | None = None) -> Circuit:
    """Dense angle encoding: two features a qubit, as RY(scale * x) and then a phase P(scale * x').

    Parameters
    ----------
    n : int
        Number of qubits.
    scale : float
        Angle for a feature of 1, in radians; LaRose and Coyle have 2 pi.
    features : sequence of int, optional
        Indices, two a qubit; by default qubit i takes features 2 i and 2 i + 1.

    Returns
    -------
    Circuit
        With no weights.

    Raises
    ------
    CircuitError
        If `n` is below 1 or `features` does not have two indices a qubit.

    References
    ----------
    LaRose, Coyle, Phys. Rev. A 102, 032420 (2020).

    Examples
    --------
    >>> print(dense_angle(1, scale=1.5).draw())
    q0: ─┤RY(1.5·x0)├──┤P(1.5·x1)├─
    """
    circuit = Circuit(check_count("n", n, 1))
    indices = _feature_indices(features, 2 * n)
    for qubit in range(n):
        circuit.ry(scale * feature(indices[2 * qubit]), qubit)
        circuit.p(scale * feature(indices[2 * qubit + 1]), qubit)
    return circuit


def basis(n: int, features: Sequence[int] | None = None) -> Circuit:
    """Basis encoding: features that are bits, as RX(pi * x).

    A bit 1 gives ``-i X``, which is X up to a phase that no expectation value sees. Values between
    0 and 1 are legal and give a superposition.

    Parameters
    ----------
    n : int
        Number of qubits.
    features : sequence of int, optional
        Index of the feature of each qubit; by default qubit i takes feature i.

    Returns
    -------
    Circuit
        With no weights.

    Raises
    ------
    CircuitError
        If `n` is below 1 or `features` does not have one index a qubit.

    Examples
    --------
    >>> from tn_qnn.dense import state
    >>> abs(state(basis(2), features=[1, 0])).round(6)
    array([0., 0., 1., 0.])
    """
    return angle(n, axis="x", features=features)


def iqp(
    n: int, layers: int = 1, graph: Graph | None = None, features: Sequence[int] | None = None
) -> Circuit:
    """IQP encoding: H on every qubit, RZ(x_i), then RZZ(x_i x_j) along the edges, `layers` times.

    Parameters
    ----------
    n : int
        Number of qubits.
    layers : int
        Number of repetitions, at least 1.
    graph : Graph, optional
        Which pairs interact; by default all.
    features : sequence of int, optional
        Index of the feature of each qubit; by default qubit i takes feature i.

    Returns
    -------
    Circuit
        With no weights.

    Raises
    ------
    CircuitError
        If `n` or `layers` is below 1, the graph has another number of nodes, or `features` does not
        have one index a qubit.

    References
    ----------
    Havlicek et al., Nature 567, 209 (2019); the form is that of PennyLane's IQPEmbedding.

    Examples
    --------
    >>> print(iqp(2).draw())
    q0: ─┤H├──┤RZ(x0)├──┤RZZ(x0·x1)├─
                             │
    q1: ─┤H├──┤RZ(x1)├──┤RZZ(x0·x1)├─
    """
    return _phase_encoding(n, layers, graph, features, "rz", lambda x: x, lambda x, y: x * y)


def zz_feature_map(
    n: int, layers: int = 2, graph: Graph | None = None, features: Sequence[int] | None = None
) -> Circuit:
    """ZZ feature map: H, P(2 x_i), then a phase 2 (pi - x_i)(pi - x_j) on odd parity; repeated.

    The parity phase is an RZZ, which differs from CX, P, CX only by a global phase.

    Parameters
    ----------
    n, layers, graph, features
        As for :func:`iqp`, but two layers by default.

    Returns
    -------
    Circuit
        With no weights.

    Raises
    ------
    CircuitError
        As for :func:`iqp`.

    References
    ----------
    Havlicek et al., Nature 567, 209 (2019).

    Examples
    --------
    >>> c = zz_feature_map(3)
    >>> c.counts() == {"h": 6, "p": 6, "rzz": 6}
    True
    """
    return _phase_encoding(
        n, layers, graph, features, "p", lambda x: 2 * x,
        lambda x, y: 2 * (math.pi - x) * (math.pi - y),
    )  # fmt: skip


def data_reuploading(
    graph: Graph | int,
    layers: int,
    num_features: int | None = None,
    rotations: Sequence[str] = ("rz", "ry", "rz"),
    entangler: BlockFunction | str = "cz",
    *,
    prefix: str = "w",
) -> Circuit:
    """Data re-uploading: every angle is ``slope * x_j + bias`` with weights of its own.

    A layer is the rotations on every qubit; between layers come entanglers on all edges. The angles
    of the whole circuit, in order, take the features 0, 1, ..., F - 1, 0, 1, ... in turn.

    Parameters
    ----------
    graph : Graph or int
        Which qubits interact; a number stands for a line. One qubit is legal.
    layers : int
        Number of layers, at least 1, and enough for every feature to have an angle.
    num_features : int, optional
        F; by default the number of qubits.
    rotations : sequence of str
        Names of one-qubit gates, applied in this order.
    entangler : str or block function
        Name of a two-qubit gate, or a block.
    prefix : str
        Weights are ``prefix.layer.qubit.k.bias``, ``prefix.layer.qubit.k.slope`` and, of an
        entangler, ``prefix.layer.a-b.k``.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If a number is out of range, a gate is unknown, or there are more features than angles.

    References
    ----------
    Pérez-Salinas, Cervera-Lierta, Gil-Fuster, Latorre, Quantum 4, 226 (2020).

    Examples
    --------
    >>> c = data_reuploading(1, layers=2, rotations=["ry"])
    >>> c.weights
    ('w.0.0.0.bias', 'w.0.0.0.slope', 'w.1.0.0.bias', 'w.1.0.0.slope')
    >>> print(data_reuploading(2, 1, rotations=["ry"], prefix="a").draw())
    q0: ─┤RY(a.0.0.0.bias + a.0.0.0.slope·x0)├─
    <BLANKLINE>
    q1: ─┤RY(a.0.1.0.bias + a.0.1.0.slope·x1)├─
    """
    graph = as_graph(graph, minimum=1)
    check_count("layers", layers, 1)
    count = graph.num_nodes if num_features is None else num_features
    check_count("num_features", count, 1)
    rotations = check_gates("rotations", rotations, 1)
    entangle = as_block("entangler", entangler)
    angles = num_angles(rotations)
    if graph.num_nodes * layers * angles < count:
        raise CircuitError(
            f"num_features is {count}, but there are only {graph.num_nodes * layers * angles} "
            "angles to take them; use more layers, qubits or rotations"
        )
    circuit = Circuit(graph.num_nodes)
    turns = itertools.cycle(range(count))
    for layer in range(layers):
        for qubit in range(graph.num_nodes):
            name = f"{prefix}.{layer}.{qubit}"
            slots = [_affine(f"{name}.{k}", next(turns)) for k in range(angles)]
            append_gates(circuit, rotations, [qubit], slots)
        if layer < layers - 1:
            for a, b in graph.edges:
                entangle(circuit, (a, b), f"{prefix}.{layer}.{a}-{b}")
    return circuit


def _affine(name: str, index: int) -> Expr:
    return weight(f"{name}.slope") * feature(index) + weight(f"{name}.bias")


def _phase_encoding(
    n: int,
    layers: int,
    graph: Graph | None,
    features: Sequence[int] | None,
    gate: str,
    single: Callable[[Expr], Expr],
    pair: Callable[[Expr, Expr], Expr],
) -> Circuit:
    check_count("n", n, 1)
    check_count("layers", layers, 1)
    graph = complete(n) if graph is None else as_graph(graph, minimum=1)
    if graph.num_nodes != n:
        raise CircuitError(f"graph has {graph.num_nodes} nodes, but n is {n}")
    x = [feature(index) for index in _feature_indices(features, n)]
    circuit = Circuit(n)
    for _ in range(layers):
        for qubit in range(n):
            circuit.h(qubit).append(gate, [qubit], [single(x[qubit])])
        for a, b in graph.edges:
            circuit.rzz(pair(x[a], x[b]), a, b)
    return circuit


def _feature_indices(features: Sequence[int] | None, count: int) -> Sequence[int]:
    if features is None:
        return range(count)
    if len(features) != count:
        raise CircuitError(f"features must hold {count} indices, got {len(features)}")
    return [check_count("features", index, 0) for index in features]
