"""From an estimator's plain arguments to circuits and readouts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from tn_qnn.circuit import ansatz as ansatze
from tn_qnn.circuit import encodings
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable, Z
from tn_qnn.errors import InputError

Ansatz: TypeAlias = str | Circuit | Sequence[Circuit] | Callable[..., Circuit]
Encoding: TypeAlias = str | Circuit | Callable[[int], Circuit] | None
Readout: TypeAlias = Observable | Sequence[Observable] | None

#: Ansätze that are known by name, and the qubit that holds their result.
ANSATZE: Mapping[str, tuple[Callable[..., Circuit], Callable[[int], int]]] = MappingProxyType({
    "tree": (ansatze.tree, lambda n: 0),
    "mera": (ansatze.mera, lambda n: 0),
    "qcnn": (ansatze.qcnn, lambda n: 0),
    "matrix_product": (ansatze.matrix_product, lambda n: n - 1),
    "brickwork": (ansatze.brickwork, lambda n: n // 2),
    "hardware_efficient": (ansatze.hardware_efficient, lambda n: n // 2),
    "strongly_entangling": (ansatze.strongly_entangling, lambda n: n // 2),
})  # fmt: skip
ENCODINGS: Mapping[str, Callable[[int], Circuit]] = MappingProxyType({
    "angle": lambda n: encodings.angle(n, scale=1.0),
    "iqp": encodings.iqp,
    "zz_feature_map": encodings.zz_feature_map,
})  # fmt: skip
DEFAULT_LAYERS = 4  # of the ansätze that cannot do without the argument


def assemble(
    ansatz: Ansatz,
    encoding: Encoding,
    layers: int | None,
    observables: Readout,
    num_features: int,
    num_outputs: int,
) -> tuple[tuple[Circuit, ...], tuple[Observable, ...]]:
    """Circuits and observables that give ``num_outputs`` outputs together.

    An ansatz by name, or a function that takes ``prefix``, makes one circuit an output, each with
    weights of its own, as long as there is one observable; otherwise there is one circuit for all.

    Parameters
    ----------
    ansatz, encoding, layers, observables
        As :class:`~tn_qnn.models.estimators.QNNClassifier` takes them.
    num_features, num_outputs
        What the data ask for.

    Raises
    ------
    InputError
        When an argument is not legal, or the number of outputs is another one.

    Examples
    --------
    >>> circuits, observables = assemble("tree", "angle", None, None, 4, 3)
    >>> len(circuits), circuits[2].weights[0], str(observables[0])
    (3, 'class2.0.0.0', 'Z0')
    """
    first = _encoding_circuit(encoding, num_features)
    num_qubits = max(first.num_qubits if first else num_features, 2)
    count = 1 if isinstance(observables, Sequence) and len(observables) != 1 else num_outputs
    trained, result = _ansatz_circuits(ansatz, num_qubits, layers, count)
    circuits = tuple(_joined(first, circuit) for circuit in trained)
    readout = _readout(observables, result)
    found = len(circuits) * len(readout)
    if found != num_outputs:
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


def _encoding_circuit(encoding: Encoding, num_features: int) -> Circuit | None:
    if encoding is None or isinstance(encoding, Circuit):
        return encoding
    if isinstance(encoding, str) and encoding not in ENCODINGS:
        raise InputError(
            f"encoding: one of {', '.join(ENCODINGS)}, a Circuit, a function of the number of"
            f" features or None expected, not {encoding!r}"
        )
    make = ENCODINGS[encoding] if isinstance(encoding, str) else encoding
    return _made("encoding", make, num_features)


def _ansatz_circuits(
    ansatz: Ansatz, num_qubits: int, layers: int | None, count: int
) -> tuple[tuple[Circuit, ...], int]:
    """The circuits, and the qubit to be read where the user names none."""
    result = 0
    if isinstance(ansatz, Circuit):
        ansatz = (ansatz,)
    if isinstance(ansatz, str):
        if ansatz not in ANSATZE:
            raise InputError(
                f"ansatz: one of {', '.join(ANSATZE)}, a Circuit, a sequence of them or a function"
                f" of the number of qubits expected, not {ansatz!r}"
            )
        make, place = ANSATZE[ansatz]
        result = place(num_qubits)
    elif callable(ansatz):
        make = ansatz
    else:
        return _checked_circuits(ansatz, layers), result
    takes = inspect.signature(make).parameters
    any_name = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    options = {}
    if "layers" in takes and (layers or takes["layers"].default is inspect.Parameter.empty):
        options["layers"] = DEFAULT_LAYERS if layers is None else layers
    elif layers is not None:
        raise InputError(f"layers: {layers!r} given, but this ansatz has none; leave it None")
    if "prefix" not in takes and not any_name:
        return (_made("ansatz", make, num_qubits, **options),), result
    names = [f"class{k}" for k in range(count)] if count > 1 else ["w"]
    return tuple(
        _made("ansatz", make, num_qubits, prefix=name, **options) for name in names
    ), result


def _checked_circuits(circuits: Sequence[Circuit], layers: int | None) -> tuple[Circuit, ...]:
    found = tuple(circuits) if isinstance(circuits, Sequence) else ()
    if not found or not all(isinstance(circuit, Circuit) for circuit in found):
        raise InputError(
            f"ansatz: one of {', '.join(ANSATZE)}, a Circuit, a sequence of them or a function of"
            f" the number of qubits expected, not {circuits!r}"
        )
    if layers is not None:
        raise InputError(f"layers: {layers!r} given together with circuits; leave it None")
    return found


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


def _readout(observables: Readout, result: int) -> tuple[Observable, ...]:
    if observables is None:
        return (Z(result),)
    return tuple(observables) if isinstance(observables, Sequence) else (observables,)
