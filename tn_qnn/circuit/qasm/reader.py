"""OpenQASM text to a circuit."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.qasm.definitions import Expander
from tn_qnn.circuit.qasm.lexer import Cursor
from tn_qnn.circuit.qasm.parser import Application, Parser
from tn_qnn.circuit.qasm.scope import Register, Scope
from tn_qnn.circuit.qasm.source import MAX_BYTES, MAX_GATES, MAX_QUBITS, Source, shown
from tn_qnn.circuit.qasm.steps import Step, lowered
from tn_qnn.errors import CircuitError, InputError, QasmError

_VERSIONS = {"2": 2, "2.0": 2, "3": 3, "3.0": 3, "3.1": 3}


def from_qasm(text: str, *, max_qubits: int = MAX_QUBITS, max_gates: int = MAX_GATES) -> Circuit:
    """Read the unitary part of an OpenQASM 2 or 3 program.

    Parameters
    ----------
    text
        The program, at most 8 MiB. The header says its version (``OPENQASM 2.0;``, ``3``,
        ``3.0`` or ``3.1``); without one it is read as version 3, where the header is optional.
        Registers are numbered in the order of their declaration; qubit 0 comes first.
        ``input float a;`` becomes ``weight("a")``, element i of ``input array[float, n]
        features;`` becomes ``feature(i)``, of another array ``u`` ``weight("u[i]")``.
    max_qubits, max_gates
        Limits on qubits and on gates after all definitions, broadcasts and modifiers are
        expanded; decided before anything large is built.

    Raises
    ------
    QasmError
        For text that is malformed, not unitary (measurement, reset, control flow) or over a
        limit; the message starts with line and column.

    Notes
    -----
    Only qelib1.inc and stdgates.inc can be included; they are built in and no file is read.
    A gate of the program may replace one of these. Global phases are exact under ``ctrl @``
    and dropped otherwise. ``pow(k) @`` takes integers for any gate and fractions for
    rotations, phases, their conjugates, and constant gates on one or two qubits.

    Examples
    --------
    >>> circuit = from_qasm('OPENQASM 3.0; include "stdgates.inc"; qubit[2] q;'
    ...                     'input float a; h q; ctrl @ rz(2 * a) q[0], q[1];')
    >>> circuit.counts(), circuit.weights
    ({'h': 2, 'crz': 1}, ('a',))
    """
    if not isinstance(text, str):
        raise QasmError(f"text: a str was expected, not {type(text).__name__}; see load_qasm")
    for name, limit in (("max_qubits", max_qubits), ("max_gates", max_gates)):
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InputError(f"{name}: an integer of at least 1 was expected, not {limit!r}")
    source = Source(text)
    if len(text) > MAX_BYTES:
        source.fail(MAX_BYTES, f"found more than {MAX_BYTES} characters; split the program")
    cursor = Cursor(source)
    version = _header(cursor)
    scope = Scope(source, version, max_qubits)
    expander = Expander(source, version, max_gates)
    steps: list[Step] = []
    for application in Parser(cursor, scope, expander).applications():
        steps += _steps(application, expander, max_gates - len(steps))
    if scope.num_qubits == 0:
        source.fail(len(text), "found no qubits; declare some, as in qubit[2] q;")
    circuit = Circuit(scope.num_qubits)
    for step in steps:
        circuit.append(step.name, step.qubits, step.params)
    return circuit


def load_qasm(
    path: str | PathLike[str], *, max_qubits: int = MAX_QUBITS, max_gates: int = MAX_GATES
) -> Circuit:
    """Read an OpenQASM file, UTF-8; see :func:`from_qasm`.

    Raises
    ------
    QasmError
        For a file that cannot be read, is not text, or that :func:`from_qasm` refuses;
        the message starts with the path.

    Examples
    --------
    >>> load_qasm("no such file.qasm")
    Traceback (most recent call last):
    ...
    tn_qnn.errors.QasmError: no such file.qasm: cannot be read (No such file or directory)
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise QasmError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise QasmError(
            f"{path}: line {line}, column {column}: found a byte that is not UTF-8; "
            "give a text file with an OpenQASM program"
        ) from None
    try:
        return from_qasm(text, max_qubits=max_qubits, max_gates=max_gates)
    except QasmError as error:
        raise QasmError(f"{path}: {error}") from None


def _header(cursor: Cursor) -> int:
    """Take ``OPENQASM x.y;`` if it is there."""
    if not cursor.accept("OPENQASM"):
        return 3
    token = cursor.advance()
    if token.text not in _VERSIONS:
        cursor.fail(
            f"found the version {shown(token.text)}; write OPENQASM 2.0; or OPENQASM 3.0;", token
        )
    cursor.expect(";")
    return _VERSIONS[token.text]


def _steps(application: Application, expander: Expander, limit: int) -> Iterator[Step]:
    """Gates of a call without controls, one instance after the other where it broadcasts."""
    call, operands = application.call, application.operands
    width = _width(operands, expander.source, call.offset)
    expander.charge(call.offset, call.work + width)
    try:
        once = [s for step in expander.steps(call, call.places, {}) for s in lowered(step)]
    except CircuitError as error:
        expander.source.fail(call.offset, f"found {error}")
    if len(once) * width > limit:
        expander.too_many(call.offset)
    for k in range(width):
        qubits = [r.qubits[0 if r.scalar else k] for r in operands]
        if len(set(qubits)) < len(qubits):
            expander.source.fail(call.offset, "found a gate that takes the same qubit twice")
        for step in once:
            yield Step(step.name, step.params, tuple([qubits[place] for place in step.qubits]))


def _width(operands: tuple[Register, ...], source: Source, offset: int) -> int:
    widths = {len(operand.qubits) for operand in operands if not operand.scalar}
    if len(widths) > 1:
        source.fail(
            offset,
            f"found registers of {' and '.join(map(str, sorted(widths)))} qubits in one gate; "
            "registers must have equal length",
        )
    return widths.pop() if widths else 1
