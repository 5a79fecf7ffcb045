"""Circuits and observables as JSON values, exact to the bit and short, and back.

An operation is ``[gate, qubits, angle, ...]``; an angle is a number or a list of terms
``[coefficient, features, weights]``, weights by their place in the model's list of names. A block
is ``["block", qubits, name, kind]``, and ``chart`` last where its weights are not those of the
exponential chart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tn_qnn.circuit.blocks import MAX_BLOCK_QUBITS, orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit, Operation
from tn_qnn.circuit.observables import (
    DensityMatrix,
    Observable,
    PauliSum,
    Projector,
    check_observable,
    density_matrix,
    projector,
)
from tn_qnn.circuit.slots import Expr, Monomial, as_expr
from tn_qnn.errors import CheckpointError, CircuitError
from tn_qnn.models import fields

if TYPE_CHECKING:
    from tn_qnn.models.qnn import QNN

MAX_INDEX = 10_000_000  # of a qubit or a feature


def model_signature(model: QNN) -> str:
    """SHA-256 of what defines a model's outputs but its weights: circuits, readouts, dtype.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import Z
    >>> from tn_qnn.models.qnn import QNN
    >>> def make(angle):
    ...     return QNN(Circuit(1).ry(angle, 0), [Z(0)])
    >>> model_signature(make(0.5)) == model_signature(make(0.5))
    True
    >>> model_signature(make(0.5)) == model_signature(make(0.6))
    False
    """
    value = [circuits_to_json(model.circuits), observables_to_json(model.observables), model.dtype]
    return hashlib.sha256(dumps(value)).hexdigest()


def dumps(value: Any) -> bytes:
    """JSON without spaces; a number comes back with the same bits.

    Examples
    --------
    >>> dumps([1, 0.1])
    b'[1,0.1]'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def circuits_to_json(circuits: Sequence[Circuit]) -> dict[str, Any]:
    """Circuits with one list of the names of their weights.

    Examples
    --------
    >>> from tn_qnn.circuit.slots import feature, weight
    >>> circuits_to_json([Circuit(2).ry(2 * weight("a") * feature(0), 1).cx(0, 1)])
    {'weights': ['a'], 'circuits': [[2, [['ry', [1], [[2.0, [0], [0]]]], ['cx', [0, 1]]]]]}
    """
    names = list(dict.fromkeys(name for circuit in circuits for name in circuit.weights))
    index = {name: k for k, name in enumerate(names)}
    return {
        "weights": names,
        "circuits": [[c.num_qubits, [_operation(op, index) for op in c.operations]]
                     for c in circuits],
    }  # fmt: skip


def circuits_from_json(value: Any, where: str) -> tuple[Circuit, ...]:
    """The inverse of :func:`circuits_to_json`.

    Raises
    ------
    CheckpointError
        When anything in it is not legal; the message names the place.
    """
    fields.record(value, where, ["weights", "circuits"])
    names = [
        fields.text(name, f"{where}.weights") for name in fields.items(value["weights"], where)
    ]
    circuits = []
    for k, entry in enumerate(fields.items(value["circuits"], where)):
        here = f"{where}.circuits[{k}]"
        num_qubits, operations = fields.items(entry, here, 2)
        with_place = _Located(here)
        circuit = with_place(Circuit, fields.whole(num_qubits, here, 1, MAX_INDEX + 1))
        for number, operation in enumerate(fields.items(operations, here)):
            _append(circuit, operation, names, _Located(f"{here}.operations[{number}]"))
        circuits.append(circuit)
    found = list(dict.fromkeys(name for circuit in circuits for name in circuit.weights))
    if found != names:
        raise CheckpointError(f"{where}.weights: the names are not those that the circuits use")
    return tuple(circuits)


def observables_to_json(observables: Sequence[Observable]) -> list[Any]:
    """Observables as ``[kind, content]``.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import X, Z
    >>> observables_to_json([0.5 * Z(0) @ X(2)])
    [['pauli', [[0.5, 0.0, [[0, 'Z'], [2, 'X']]]]]]
    """
    return [_observable(observable) for observable in observables]


def observables_from_json(value: Any, where: str) -> tuple[Observable, ...]:
    """The inverse of :func:`observables_to_json`.

    Raises
    ------
    CheckpointError
        When anything in it is not legal; the message names the place.
    """
    return tuple(
        _read_observable(entry, f"{where}[{k}]")
        for k, entry in enumerate(fields.items(value, where))
    )


class _Located:
    """Calls functions of the circuit stage, whose errors it gives the place in the file."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except CircuitError as error:
            raise CheckpointError(f"{self.where}: {error}") from error


def _operation(op: Operation, index: Mapping[str, int]) -> list[Any]:
    head = [op.gate, list(op.qubits)]
    if op.block is not None:
        chart = [] if op.block.chart == "exponential" else [op.block.chart]
        return [*head, op.block.name, op.block.kind, *chart]
    if op.gate == "unitary":
        flat = op.array.reshape(-1)
        return [*head, flat.real.tolist(), flat.imag.tolist()]
    return head + [_angle(param, index) for param in op.params]


def _angle(expr: Expr, index: Mapping[str, int]) -> Any:
    if expr.is_constant:
        return expr.constant_value
    return [[c, list(m.features), [index[name] for name in m.weights]] for m, c in expr.terms]


def _append(circuit: Circuit, value: Any, names: Sequence[str], located: _Located) -> None:
    where = located.where
    if len(fields.items(value, where)) < 2:
        raise CheckpointError(f"{where}: [gate, qubits, angles ...] expected")
    gate = fields.text(value[0], where)
    qubits = [fields.whole(q, f"{where} ({gate})") for q in fields.items(value[1], where)]
    if gate == "block":
        _, _, name, kind, *chart = fields.items(value, where, 5 if len(value) == 5 else 4)
        make = {"orthogonal": orthogonal, "unitary": unitary}
        block = located(make[fields.text(kind, where, list(make))], name, *chart)
        located(circuit.block, block, qubits)
    elif gate == "unitary":
        _append_unitary(circuit, fields.items(value, where, 4)[2:], qubits, located)
    else:
        angles = [_read_angle(angle, names, located) for angle in value[2:]]
        located(circuit.append, gate, qubits, angles)


def _append_unitary(
    circuit: Circuit, planes: Sequence[Any], qubits: list[int], located: _Located
) -> None:
    where = located.where
    if not 1 <= len(qubits) <= MAX_BLOCK_QUBITS:
        raise CheckpointError(f"{where}: a unitary on 1 to {MAX_BLOCK_QUBITS} qubits expected")
    d = 2 ** len(qubits)
    real, imag = (
        [fields.real(number, where) for number in fields.items(plane, where, d * d)]
        for plane in planes
    )
    # Not real + 1j * imag, which would lose the sign of a zero.
    matrix = np.stack([real, imag], axis=-1).view(complex).reshape(d, d)
    located(circuit.unitary, matrix, qubits)


def _read_angle(value: Any, names: Sequence[str], located: _Located) -> Expr:
    where = located.where
    if not isinstance(value, list):
        return as_expr(fields.real(value, where))
    total = Expr()
    for term in value:
        coefficient, features, weights = fields.items(term, where, 3)
        monomial = Monomial() * Monomial(
            tuple(fields.whole(i, where, 0, MAX_INDEX) for i in fields.items(features, where)),
            tuple(names[fields.whole(i, where, 0, len(names))]
                  for i in fields.items(weights, where)),
        )  # fmt: skip
        total = located(total.__add__, Expr(((monomial, fields.real(coefficient, where)),)))
    return total


def _observable(observable: Observable) -> list[Any]:
    match observable:
        case PauliSum(terms):
            strings = [[c.real, c.imag, [list(p) for p in string]] for string, c in terms]
            return ["pauli", strings]
        case Projector(bits):
            return ["projector", [list(pair) for pair in bits]]
        case DensityMatrix(qubits):
            return ["density_matrix", list(qubits)]
    raise TypeError(f"no JSON form of {observable!r}")


def _read_observable(value: Any, where: str) -> Observable:
    kind, content = fields.items(value, where, 2)
    content = fields.items(content, where)
    located = _Located(where)
    if fields.text(kind, where, ["pauli", "projector", "density_matrix"]) == "pauli":
        terms = tuple(_read_term(term, where) for term in content)
        if list(terms) != sorted(dict(terms).items()):
            raise CheckpointError(f"{where}: Pauli strings are repeated or not in order")
        observable: Observable = PauliSum(terms)
    elif kind == "projector":
        pairs = [fields.items(pair, where, 2) for pair in content]
        bits = {_qubit(q, where): fields.whole(b, where, 0, 2) for q, b in pairs}
        observable = located(projector, bits)
    else:
        observable = located(density_matrix, [_qubit(q, where) for q in content])
    checked: Observable = located(check_observable, observable, MAX_INDEX)
    return checked


def _read_term(value: Any, where: str) -> tuple[tuple[tuple[int, str], ...], complex]:
    real, imag, string = fields.items(value, where, 3)
    pairs = [fields.items(pair, where, 2) for pair in fields.items(string, where)]
    paulis = tuple((_qubit(q, where), fields.text(axis, where, "XYZ")) for q, axis in pairs)
    qubits = [q for q, _ in paulis]
    if qubits != sorted(set(qubits)):
        raise CheckpointError(f"{where}: qubits of a Pauli string are repeated or not in order")
    return paulis, complex(fields.real(real, where), fields.real(imag, where))


def _qubit(value: Any, where: str) -> int:
    return fields.whole(value, where, 0, MAX_INDEX)
