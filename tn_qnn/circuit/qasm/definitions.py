"""Gate calls and gate definitions, and their expansion to steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NoReturn

import numpy as np

from tn_qnn.circuit.gates import ALIASES, GATES, MAX_PHASE_QUBITS, multi_controlled_phase
from tn_qnn.circuit.qasm.library import LibraryGate
from tn_qnn.circuit.qasm.powers import applied, raised
from tn_qnn.circuit.qasm.source import MAX_POWER, Source
from tn_qnn.circuit.qasm.steps import Control, Step, controlled, inverted
from tn_qnn.circuit.qasm.values import Expression, Value, evaluate
from tn_qnn.circuit.slots import Expr
from tn_qnn.errors import CircuitError, QasmError

WORK_PER_GATE = 4  # expansion work that a program may take for every gate that it may have
_MAX_CHECKED_WORK = 5_000  # of a definition that is compared with the gate table


@dataclass(frozen=True)
class Modifier:
    """``ctrl(count) @``, ``negctrl(count) @``, ``inv @`` or ``pow(exponent) @``."""

    kind: Literal["ctrl", "negctrl", "inv", "pow"]
    count: int = 0
    exponent: Expression | None = None


@dataclass(frozen=True)
class Call:
    """A gate applied to places (qubits, or arguments of the gate that is defined)."""

    gate: LibraryGate | Definition
    modifiers: tuple[Modifier, ...]
    angles: tuple[Expression, ...]
    places: tuple[int, ...]
    offset: int

    @cached_property
    def work(self) -> int:
        """Bound on what it costs to expand, modifiers aside; known before anything expands."""
        evaluated = sum(len(angle.code) for angle in self.angles)
        return self.gate.work + len(self.places) // 4 + evaluated // 8


@dataclass(frozen=True)
class Definition:
    """A ``gate`` of the program; ``body`` is None for an opaque one."""

    name: str
    parameters: tuple[str, ...]
    num_qubits: int
    body: tuple[Call, ...] | None

    @property
    def num_parameters(self) -> int:
        """Number of angles."""
        return len(self.parameters)

    @cached_property
    def work(self) -> int:
        """See :attr:`Call.work`."""
        return 1 + sum(call.work for call in self.body or ())

    @cached_property
    def depth(self) -> int:
        """How deep gates call gates below this one."""
        return 1 + max((call.gate.depth for call in self.body or ()), default=0)


class Expander:
    """Expands the calls of one program, within its limits."""

    def __init__(self, source: Source, version: int, max_gates: int) -> None:
        self.source, self.version, self.max_gates = source, version, max_gates
        self._work_left = WORK_PER_GATE * max_gates

    def charge(self, offset: int, work: int) -> None:
        """Account for work before it is done; fail where too little is left."""
        self._work_left -= work
        if self._work_left < 0:
            self.too_many(offset)

    def too_many(self, offset: int) -> NoReturn:
        """Fail because a program expands to too many gates."""
        self.source.fail(
            offset,
            f"found a program that expands to more than max_gates={self.max_gates} gates; "
            "raise max_gates or shorten the program",
        )

    def steps(
        self, call: Call, qubits: Sequence[int], parameters: Mapping[str, Value]
    ) -> list[Step]:
        """The call on qubits, modifiers applied from the innermost outwards."""
        angles = [evaluate(a, parameters, self.source, self.version) for a in call.angles]
        end = len(qubits) - call.gate.num_qubits
        steps = self.plain(call, angles, qubits[end:])
        for modifier in reversed(call.modifiers):
            if modifier.kind == "inv":
                steps = inverted(steps)
            elif modifier.exponent is not None:
                steps = self._power(call, steps, modifier.exponent, parameters)
            else:
                value = int(modifier.kind == "ctrl")
                taken = qubits[end - modifier.count : end]
                steps = controlled(steps, [Control(q, value) for q in taken])
                end -= modifier.count
            self.charge(call.offset, 2 * len(steps))
        return steps

    def plain(self, call: Call, angles: Sequence[Value], qubits: Sequence[int]) -> list[Step]:
        """The call without its modifiers."""
        gate = call.gate
        if isinstance(gate, LibraryGate):
            return gate.steps(angles, qubits)
        if gate.body is None:
            self.source.fail(
                call.offset, f"found a call of the opaque gate '{gate.name}'; define it"
            )
        values = (x if isinstance(x, Expr) else float(x) for x in angles)
        parameters: dict[str, Value] = dict(zip(gate.parameters, values, strict=True))
        steps: list[Step] = []
        for inner in gate.body:
            steps += self.steps(inner, [qubits[place] for place in inner.places], parameters)
            if len(steps) > self.max_gates:
                self.too_many(call.offset)
        return steps

    def _power(
        self, call: Call, steps: list[Step], exponent: Expression, parameters: Mapping[str, Value]
    ) -> list[Step]:
        value = evaluate(exponent, parameters, self.source, self.version)
        if not isinstance(value, int | float) or abs(value) > MAX_POWER:
            self.source.fail(
                exponent.offset,
                f"found a power that is no constant from -{MAX_POWER} to {MAX_POWER}",
            )
        try:
            return raised(steps, value, self.max_gates)
        except CircuitError as error:
            self.source.fail(call.offset, f"found {error}")


def recognised(definition: Definition, expander: Expander) -> LibraryGate | None:
    """The gate of the table that a definition spells out, if it bears its name and is equal.

    Compared at random angles on random states, to the phase in version 3 and up to it in
    version 2 (which has no controls that could tell). So ``gate rzz(t) a, b { ... }`` keeps
    the diagonal form of rzz instead of becoming two cx and an rz.
    """
    name = ALIASES.get(definition.name, definition.name)
    known = GATES.get(name)
    n = definition.num_qubits
    if definition.name == f"mcphase{n}" and 1 <= n <= MAX_PHASE_QUBITS:
        known, name = multi_controlled_phase(n), "mcphase"
    if known is None or definition.body is None or definition.work > _MAX_CHECKED_WORK:
        return None
    if (known.num_qubits, len(known.parameters)) != (n, definition.num_parameters):
        return None
    rng = np.random.default_rng(0)
    for _ in range(2):
        angles = rng.uniform(-3, 3, definition.num_parameters).tolist()
        call = Call(definition, (), (), tuple(range(n)), 0)
        try:
            steps = expander.plain(call, angles, range(n))
        except QasmError:  # not defined at these angles, which need not be used
            return None
        state = rng.normal(size=(2**n, 2)) @ np.array([[1.0], [1.0j]])
        overlap = np.vdot(known.matrix(angles) @ state, applied(steps, range(n), state))
        ratio = overlap / np.vdot(state, state).real
        if abs((abs(ratio) if expander.version == 2 else ratio) - 1) > 1e-10:
            return None
    return LibraryGate(definition.name, name, definition.num_parameters, n)
