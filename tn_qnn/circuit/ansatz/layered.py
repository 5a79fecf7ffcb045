"""Layered ansätze: rotations on every qubit, then entanglers along the edges of a graph."""

from __future__ import annotations

from collections.abc import Sequence

from tn_qnn.circuit.ansatz.blocks import (
    BlockFunction,
    append_gates,
    as_block,
    check_gates,
    num_angles,
    weights,
)
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import Graph, as_graph, check_count
from tn_qnn.errors import CircuitError


def brickwork(
    graph: Graph | int,
    layers: int,
    rotations: Sequence[str] = ("ry",),
    entangler: BlockFunction | str = "cz",
    *,
    prefix: str = "w",
) -> Circuit:
    """Brickwork: a layer is rotations on every qubit, then entanglers on ONE colour of edges.

    The colours take turns, so layer l entangles ``graph.layers[l % len(graph.layers)]``; on a line
    these are the even and the odd bonds.

    Parameters
    ----------
    graph : Graph or int
        Which qubits interact; a number stands for a line.
    layers : int
        Number of layers, at least 1.
    rotations : sequence of str
        Names of one-qubit gates, applied in this order; empty for a circuit of blocks alone.
    entangler : str or block function
        Name of a two-qubit gate, or a block such as ``unitary_block``.
    prefix : str
        Weights are ``prefix.layer.qubit.k`` and ``prefix.layer.a-b.k``.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If the graph has no edges, `layers` is below 1 or a gate is unknown.

    Examples
    --------
    >>> c = brickwork(4, 2)
    >>> c.counts() == {"ry": 8, "cz": 3}
    True
    >>> c.weights[:3]
    ('w.0.0.0', 'w.0.1.0', 'w.0.2.0')
    """
    graph = _entangled(graph)
    check_count("layers", layers, 1)
    rotations = check_gates("rotations", rotations, 1)
    entangle = as_block("entangler", entangler)
    circuit = Circuit(graph.num_nodes)
    for layer in range(layers):
        _rotate(circuit, rotations, f"{prefix}.{layer}")
        for a, b in graph.layers[layer % len(graph.layers)]:
            entangle(circuit, (a, b), f"{prefix}.{layer}.{a}-{b}")
    return circuit


def hardware_efficient(
    graph: Graph | int,
    layers: int,
    rotations: Sequence[str] = ("ry", "rz"),
    entangler: BlockFunction | str = "cx",
    *,
    prefix: str = "w",
) -> Circuit:
    """Hardware-efficient ansatz: a layer is rotations on every qubit, then entanglers on ALL edges.

    Rotations on every qubit end the circuit, as layer number `layers`.

    Parameters
    ----------
    graph, layers, rotations, entangler, prefix
        As for :func:`brickwork`.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If the graph has no edges, `layers` is below 1 or a gate is unknown.

    References
    ----------
    Kandala et al., Nature 549, 242 (2017).

    Examples
    --------
    >>> hardware_efficient(4, 2).counts() == {"ry": 12, "rz": 12, "cx": 6}
    True
    """
    graph = _entangled(graph)
    check_count("layers", layers, 1)
    rotations = check_gates("rotations", rotations, 1)
    entangle = as_block("entangler", entangler)
    circuit = Circuit(graph.num_nodes)
    for layer in range(layers):
        _rotate(circuit, rotations, f"{prefix}.{layer}")
        for a, b in graph.edges:
            entangle(circuit, (a, b), f"{prefix}.{layer}.{a}-{b}")
    _rotate(circuit, rotations, f"{prefix}.{layers}")
    return circuit


def strongly_entangling(
    n: int,
    layers: int,
    rotations: Sequence[str] = ("rz", "ry", "rz"),
    entangler: BlockFunction | str = "cx",
    *,
    ranges: Sequence[int] | None = None,
    prefix: str = "w",
) -> Circuit:
    """Strongly entangling layers: any rotation of every qubit, then CNOTs to a qubit r places on.

    In layer l every qubit i controls qubit ``(i + r) % n``, with ``r = l % (n - 1) + 1``. This is
    PennyLane's StronglyEntanglingLayers, and weight ``prefix.l.i.k`` its ``weights[l, i, k]``.

    Parameters
    ----------
    n : int
        Number of qubits, at least 2.
    layers : int
        Number of layers, at least 1.
    rotations, entangler, prefix
        As for :func:`brickwork`.
    ranges : sequence of int, optional
        The r of every layer, each from 1 to n - 1.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If `n`, `layers` or `ranges` is out of range or a gate is unknown.

    References
    ----------
    Schuld, Bocharov, Svore, Wiebe, Phys. Rev. A 101, 032308 (2020).

    Examples
    --------
    >>> c = strongly_entangling(4, 2)
    >>> c.counts() == {"rz": 16, "ry": 8, "cx": 8}
    True
    """
    check_count("n", n, 2)
    check_count("layers", layers, 1)
    rotations = check_gates("rotations", rotations, 1)
    entangle = as_block("entangler", entangler)
    if ranges is None:
        ranges = [layer % (n - 1) + 1 for layer in range(layers)]
    if len(ranges) != layers or not all(1 <= r < n for r in ranges):
        raise CircuitError(
            f"ranges must hold {layers} numbers from 1 to {n - 1}, one a layer, got {list(ranges)}"
        )
    circuit = Circuit(n)
    for layer, r in enumerate(ranges):
        _rotate(circuit, rotations, f"{prefix}.{layer}")
        for a in range(n):
            b = (a + r) % n
            entangle(circuit, (a, b), f"{prefix}.{layer}.{a}-{b}")
    return circuit


def _rotate(circuit: Circuit, rotations: Sequence[str], name: str) -> None:
    count = num_angles(rotations)
    for qubit in range(circuit.num_qubits):
        append_gates(circuit, rotations, [qubit], weights(f"{name}.{qubit}", count))


def _entangled(graph: Graph | int) -> Graph:
    graph = as_graph(graph)
    if not graph.layers:
        raise CircuitError(f"graph has {graph.num_nodes} nodes but no edges; add some")
    return graph
