"""From an estimator's plain arguments to circuits and readouts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from tn_qnn.circuit import ansatz as ansatze
from tn_qnn.circuit import encodings
from tn_qnn.circuit.ansatz.blocks import BlockFunction, orthogonal_entries, unitary_entries
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable, Z, density_matrix
from tn_qnn.errors import InputError
from tn_qnn.models.orders import pixel_orders

T = TypeVar("T")
Ansatz: TypeAlias = str | Circuit | Sequence[Circuit] | Callable[..., Circuit]
Encoding: TypeAlias = str | Circuit | Callable[[int], Circuit] | None
Readout: TypeAlias = Observable | Sequence[Observable] | None
Result: TypeAlias = tuple[int, ...]

#: Ansätze that are known by name, and of n qubits those that hold the result, b qubits of bonds.
ANSATZE: Mapping[str, tuple[Callable[..., Circuit], Callable[[int, int], Result]]] = (
    MappingProxyType({
        "tree": (ansatze.tree, lambda n, b: tuple(range(b))),
        "mera": (ansatze.mera, lambda n, b: (0,)),
        "qcnn": (ansatze.qcnn, lambda n, b: (0,)),
        "matrix_product": (ansatze.matrix_product, lambda n, b: tuple(range(n - 1, n - 1 - b, -1))),
        "brickwork": (ansatze.brickwork, lambda n, b: (n // 2,)),
        "hardware_efficient": (ansatze.hardware_efficient, lambda n, b: (n // 2,)),
        "strongly_entangling": (ansatze.strongly_entangling, lambda n, b: (n // 2,)),
    })
)  # fmt: skip
#: Encodings that are known by name; ``features`` are those of the qubits, in order.
ENCODINGS: Mapping[str, Callable[..., Circuit]] = MappingProxyType({
    "angle": lambda n, features=None: encodings.angle(n, scale=1.0, features=features),
    "iqp": encodings.iqp,
    "zz_feature_map": encodings.zz_feature_map,
})  # fmt: skip
#: Blocks with names of their own; the name of a gate on as many qubits is legal too.
BLOCKS: Mapping[str, BlockFunction] = MappingProxyType({
    "so4": ansatze.so4_block,
    "su4": ansatze.su4_block,
    "orthogonal": orthogonal_entries,
    "unitary": unitary_entries,
})  # fmt: skip
HEADS = ("linear",)
DEFAULT_LAYERS = 4  # of the ansätze that cannot do without the argument


@dataclass(frozen=True)
class Design:
    """What an estimator's circuits are made of.

    Attributes
    ----------
    ansatz, encoding, layers, block, bond_qubits, orders, observables, head
        As :class:`~tn_qnn.models.estimators.QNNClassifier` takes them.
    seed
        Key of random orders.
    """

    ansatz: Ansatz = "tree"
    encoding: Encoding = "angle"
    layers: int | None = None
    block: str | BlockFunction | None = None
    bond_qubits: int = 1
    orders: str | Sequence[str] | None = None
    observables: Readout = None
    head: str | None = None
    seed: int = 0


def assemble(
    design: Design, num_features: int, num_outputs: int
) -> tuple[tuple[Circuit, ...], tuple[Observable, ...]]:
    """Circuits and observables that give ``num_outputs`` outputs, or what a head makes them of.

    Without a head an ansatz by name, or a function that takes ``prefix``, makes one circuit an
    output, each with weights of its own, as long as there is one observable; otherwise there is
    one circuit for all. With a head it makes one circuit for each order of the pixels.

    Parameters
    ----------
    design
        What is wanted.
    num_features, num_outputs
        What the data ask for.

    Raises
    ------
    InputError
        When an argument is not legal, or the number of outputs is another one.

    Examples
    --------
    >>> circuits, observables = assemble(Design(), 4, 3)
    >>> len(circuits), circuits[2].weights[0], str(observables[0])
    (3, 'class2.0.0.0', 'Z0')
    >>> circuits, observables = assemble(Design(orders=("row", "z"), head="linear"), 16, 10)
    >>> len(circuits), circuits[1].weights[0], str(observables[0])
    (2, 'view1.0.0.0', 'rho(0)')
    """
    if design.head is not None and design.head not in HEADS:
        raise InputError(f"head: one of {', '.join(HEADS)} or None expected, not {design.head!r}")
    firsts = _encodings(design, num_features)
    num_qubits = max(firsts[0].num_qubits if firsts[0] else num_features, 2)
    names = _prefixes(design, len(firsts), num_outputs)
    trained, result = _ansatz_circuits(design, num_qubits, names)
    circuits = _paired(firsts, trained)
    readout = _readout(design, result)
    found = len(circuits) * len(readout)
    if design.head is None and found != num_outputs:
        raise InputError(
            f"ansatz, observables: {len(circuits)} circuit(s) with {len(readout)} observable(s)"
            f" have {found} outputs, but {num_outputs} are needed (one a class; one for two classes"
            " or a regression)"
        )
    used = max(circuit.num_features for circuit in circuits)
    if used > num_features:
        raise InputError(f"X: {num_features} features given, but the circuit uses {used}")
    if not any(circuit.weights for circuit in circuits):
        raise InputError("ansatz: the circuits have no weights, so there is nothing to train")
    return circuits, readout


def _encodings(design: Design, num_features: int) -> tuple[Circuit | None, ...]:
    """The encoding for each order of the pixels: which feature a qubit takes is all that differs.

    So circuits on them keep one topology, and run as one batch of equal cones.
    """
    encoding, orders = design.encoding, design.orders
    if isinstance(encoding, str) and encoding not in ENCODINGS:
        raise InputError(
            f"encoding: one of {', '.join(ENCODINGS)}, a Circuit, a function of the number of"
            f" features or None expected, not {encoding!r}"
        )
    if orders is None:
        if encoding is None or isinstance(encoding, Circuit):
            return (encoding,)
        make = ENCODINGS[encoding] if isinstance(encoding, str) else encoding
        return (_made("encoding", make, num_features),)
    if not isinstance(encoding, str):
        raise InputError(
            f"orders: {orders!r} given with an encoding of your own; give that by name, one of"
            f" {', '.join(ENCODINGS)}, or put the order into it and leave orders None"
        )
    names = (orders,) if isinstance(orders, str) else tuple(orders)
    if not names:
        raise InputError("orders: at least one expected, or None")
    if len(names) > 1 and design.head is None:
        raise InputError(
            f"orders: {len(names)} given, but nothing joins their outputs; add head='linear', or"
            " give one order"
        )
    return tuple(
        _made("encoding", ENCODINGS[encoding], num_features, features=order)
        for order in pixel_orders(names, num_features, design.seed)
    )


def _prefixes(design: Design, views: int, num_outputs: int) -> list[str]:
    """Prefixes of the weights of the circuits that a function of ``prefix`` makes."""
    if design.head is not None:
        return [f"view{k}" for k in range(views)] if views > 1 else ["w"]
    observables = design.observables
    several = isinstance(observables, Sequence) and len(observables) != 1
    return [f"class{k}" for k in range(num_outputs)] if num_outputs > 1 and not several else ["w"]


def _ansatz_circuits(
    design: Design, num_qubits: int, names: Sequence[str]
) -> tuple[tuple[Circuit, ...], Result]:
    """The circuits, and the qubits to be read where the user names none."""
    ansatz, result = design.ansatz, (0,)
    if isinstance(ansatz, Circuit):
        ansatz = (ansatz,)
    if isinstance(ansatz, str):
        if ansatz not in ANSATZE:
            raise InputError(
                f"ansatz: one of {', '.join(ANSATZE)}, a Circuit, a sequence of them or a function"
                f" of the number of qubits expected, not {ansatz!r}"
            )
        make, place = ANSATZE[ansatz]
    elif callable(ansatz):
        make, place = ansatz, None
    else:
        return _checked_circuits(ansatz, design), result
    takes = inspect.signature(make).parameters
    options = _options(design, takes)
    any_name = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    prefixes = [{"prefix": name} for name in names] if "prefix" in takes or any_name else [{}]
    circuits = tuple(_made("ansatz", make, num_qubits, **prefix, **options) for prefix in prefixes)
    return circuits, place(num_qubits, design.bond_qubits) if place else result


def _options(design: Design, takes: Mapping[str, inspect.Parameter]) -> dict[str, object]:
    """Arguments of the function that makes the ansatz."""
    options: dict[str, object] = {}
    block, bond = design.block, design.bond_qubits
    if isinstance(block, str):
        block = BLOCKS.get(block, block)
    elif block is None and bond != 1:
        block = BLOCKS["orthogonal"]
    for name, value, absent in (("block", block, None), ("bond_qubits", bond, 1)):
        if value != absent and name not in takes:
            raise InputError(f"{name}: {value!r} given, but this ansatz has none; leave it out")
        if value != absent:
            options[name] = value
    layers = design.layers
    if "layers" in takes and (layers or takes["layers"].default is inspect.Parameter.empty):
        options["layers"] = DEFAULT_LAYERS if layers is None else layers
    elif layers is not None:
        raise InputError(f"layers: {layers!r} given, but this ansatz has none; leave it None")
    return options


def _checked_circuits(circuits: Sequence[Circuit], design: Design) -> tuple[Circuit, ...]:
    found = tuple(circuits) if isinstance(circuits, Sequence) else ()
    if not found or not all(isinstance(circuit, Circuit) for circuit in found):
        raise InputError(
            f"ansatz: one of {', '.join(ANSATZE)}, a Circuit, a sequence of them or a function of"
            f" the number of qubits expected, not {circuits!r}"
        )
    for name, absent in (("layers", None), ("block", None), ("bond_qubits", 1)):
        value = getattr(design, name)
        if value != absent:
            raise InputError(f"{name}: {value!r} given together with circuits; leave it {absent}")
    return found


def _paired(firsts: Sequence[Circuit | None], trained: Sequence[Circuit]) -> tuple[Circuit, ...]:
    """Each circuit behind its encoding; one of either serves all of the other."""
    if len(firsts) > 1 and len(trained) not in (1, len(firsts)):
        raise InputError(
            f"orders: {len(firsts)} given for {len(trained)} circuits; give one order, or as many"
            " as circuits"
        )
    count = max(len(firsts), len(trained))
    both = zip(_repeated(firsts, count), _repeated(trained, count), strict=True)
    return tuple(_joined(first, circuit) for first, circuit in both)


def _repeated(items: Sequence[T], count: int) -> Sequence[T]:
    return list(items) * count if len(items) == 1 else items


def _made(name: str, make: Callable[..., Circuit], count: int, **options: object) -> Circuit:
    circuit = make(count, **options)
    if not isinstance(circuit, Circuit):
        raise InputError(f"{name}: the function returned {circuit!r}, a Circuit was expected")
    return circuit


def _joined(encoding: Circuit | None, circuit: Circuit) -> Circuit:
    if encoding is None:
        return circuit
    if encoding.num_qubits > circuit.num_qubits:
        raise InputError(
            f"encoding: {encoding.num_qubits} qubits, but the ansatz has {circuit.num_qubits}"
        )
    wide = Circuit(circuit.num_qubits)
    return wide.compose(encoding, range(encoding.num_qubits)).compose(circuit)


def _readout(design: Design, result: Result) -> tuple[Observable, ...]:
    observables = design.observables
    if observables is None:
        return (Z(result[0]),) if design.head is None else (density_matrix(result),)
    return tuple(observables) if isinstance(observables, Sequence) else (observables,)
