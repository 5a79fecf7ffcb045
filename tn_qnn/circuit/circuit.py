"""The circuit: what the user writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tn_qnn.circuit.blocks import MAX_BLOCK_QUBITS, Block, block_matrices
from tn_qnn.circuit.factors import Factor, constant
from tn_qnn.circuit.gates import (
    ALIASES,
    GATES,
    MAX_PHASE_QUBITS,
    Gate,
    multi_controlled_phase,
)
from tn_qnn.circuit.slots import Expr, as_expr, weight
from tn_qnn.errors import CircuitError

if TYPE_CHECKING:
    from tn_qnn.circuit.synthesis.decompose import Decomposition

MAX_QUBITS = 10_000_000


@dataclass(frozen=True)
class Operation:
    """One gate on its qubits.

    Attributes
    ----------
    gate
        A name of the gate table, "mcphase", "unitary" or "block".
    qubits
        The first is the most significant bit of the gate's matrix.
    params
        Its angles.
    data
        For "unitary": the matrix, complex128 in C order, as bytes.
    block
        For "block": the tensor-valued weight.
    """

    gate: str
    qubits: tuple[int, ...]
    params: tuple[Expr, ...] = ()
    data: bytes = b""
    block: Block | None = None

    @property
    def array(self) -> NDArray[np.complex128]:
        """The matrix of a "unitary", shape (d, d)."""
        d = 2 ** len(self.qubits)
        return np.frombuffer(self.data, dtype=complex).reshape(d, d)

    @property
    def record(self) -> Gate:
        """The gate's record; only for gates of the table."""
        if self.gate == "mcphase":
            return multi_controlled_phase(len(self.qubits))
        return GATES[self.gate]

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Tensor-network form, empty for a block (whose tensor is a weight)."""
        if self.gate == "unitary":
            return (constant(self.array, range(len(self.qubits))),)
        return () if self.block is not None else self.record.factors

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights it depends on, in order."""
        if self.block is not None:
            return self.block.weights(len(self.qubits))
        return tuple(
            name for expr in self.params for monomial, _ in expr.terms for name in monomial.weights
        )

    def matrix(
        self, weights: Mapping[str, float], features: Sequence[float]
    ) -> NDArray[np.complex128]:
        """Its unitary for one set of weights and one sample, shape (d, d)."""
        if self.gate == "unitary":
            return self.array
        if self.block is not None:
            values = np.array([weight(name).evaluate(weights, ()) for name in self.weights])
            block = self.block
            found = block_matrices(values, len(self.qubits), block.real, block.chart)
            return found.astype(complex)
        return self.record.matrix([p.evaluate(weights, features) for p in self.params])

    def inverse(self) -> Operation:
        """The operation that undoes it."""
        if self.block is not None:
            raise CircuitError(
                f"the block {self.block.name!r} cannot be inverted while its weights are free;"
                " bind() them first"
            )
        if self.gate == "unitary":
            return replace(self, data=np.ascontiguousarray(self.array.conj().T).tobytes())
        name, params = self.record.inverse(*self.params)
        return replace(self, gate=name, params=tuple(as_expr(p) for p in params))


class Circuit:
    """A quantum circuit: gates in order, each with its qubits and its angles.

    There is a method a gate, angles first, then qubits: ``c.h(0)``, ``c.rx(0.3, 1)``,
    ``c.cx(0, 1)``; each returns the circuit. ``tn_qnn.GATES`` lists them.

    Parameters
    ----------
    num_qubits
        At least one. Qubit 0 is the most significant bit.

    Raises
    ------
    CircuitError
        For a number of qubits, a qubit, a gate name or an angle that is not legal.

    Examples
    --------
    >>> c = Circuit(2).h(0).cx(0, 1)
    >>> c.depth(), c.counts()
    (2, {'h': 1, 'cx': 1})
    """

    num_qubits: int

    def __init__(self, num_qubits: int) -> None:
        if isinstance(num_qubits, bool) or not isinstance(num_qubits, Integral):
            raise CircuitError(f"num_qubits: an integer was expected, not {num_qubits!r}")
        if not 1 <= num_qubits <= MAX_QUBITS:
            raise CircuitError(f"num_qubits: 1 to {MAX_QUBITS} were expected, not {num_qubits}")
        self.num_qubits = int(num_qubits)
        self._operations: list[Operation] = []
        self._blocks: dict[str, tuple[str, str, int]] = {}  # kind, chart and size by name

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations in order."""
        return tuple(self._operations)

    def append(
        self, name: str, qubits: Sequence[int], params: Sequence[Expr | float] = ()
    ) -> Circuit:
        """Append a gate by name.

        Raises
        ------
        CircuitError
            For an unknown gate, a wrong number of qubits or angles, a qubit out of range
            or repeated, an angle that is not a finite number or an expression.
        """
        known = ALIASES.get(name, name)
        _check_sequence(name, qubits)
        if known == "mcphase":
            if not 1 <= len(qubits) <= MAX_PHASE_QUBITS:
                raise CircuitError(f"mcphase: 1 to {MAX_PHASE_QUBITS} qubits, not {len(qubits)}")
            gate = multi_controlled_phase(len(qubits))
        elif known in GATES:
            gate = GATES[known]
        else:
            raise CircuitError(f"unknown gate {name!r}; known: {', '.join(sorted(GATES))}, mcphase")
        if len(qubits) != gate.num_qubits or len(params) != len(gate.parameters):
            raise CircuitError(
                f"{name}: expected {len(gate.parameters)} angles {gate.parameters} and"
                f" {gate.num_qubits} qubits, got {len(params)} and {len(qubits)}"
            )
        angles = tuple(as_expr(p) for p in params)
        self._operations.append(Operation(known, self._checked(name, qubits), angles))
        return self

    def mcphase(self, lam: Expr | float, *qubits: int) -> Circuit:
        """Phase exp(i lam) on |1...1> of one to eight qubits."""
        return self.append("mcphase", qubits, (lam,))

    def unitary(self, matrix: ArrayLike, qubits: Sequence[int]) -> Circuit:
        """Append an arbitrary unitary on one to six qubits.

        Parameters
        ----------
        matrix
            Shape (2**k, 2**k) for k qubits, unitary to 1e-8.
        qubits
            The first is the most significant bit.
        """
        _check_sequence("unitary", qubits)
        try:
            u = np.array(matrix, dtype=complex)
        except (TypeError, ValueError) as error:
            raise CircuitError(f"unitary: a matrix of numbers expected ({error})") from error
        if not 1 <= len(qubits) <= MAX_BLOCK_QUBITS or u.shape != (2 ** len(qubits),) * 2:
            raise CircuitError(
                f"unitary: a (2**k, 2**k) matrix on 1 to {MAX_BLOCK_QUBITS} qubits was expected,"
                f" not {u.shape} on {len(qubits)}"
            )
        if not np.all(np.isfinite(u)) or not np.allclose(u @ u.conj().T, np.eye(len(u)), atol=1e-8):
            raise CircuitError("unitary: the matrix is not unitary (to 1e-8)")
        self._operations.append(
            Operation("unitary", self._checked("unitary", qubits), data=u.tobytes())
        )
        return self

    def block(self, block: Block, qubits: Sequence[int]) -> Circuit:
        """Append a tensor-valued weight (``orthogonal`` or ``unitary``) on up to six qubits."""
        if not isinstance(block, Block):
            raise CircuitError(f"block: orthogonal(name) or unitary(name) expected, not {block!r}")
        _check_sequence("block", qubits)
        if not 1 <= len(qubits) <= MAX_BLOCK_QUBITS:
            raise CircuitError(f"block: 1 to {MAX_BLOCK_QUBITS} qubits, not {len(qubits)}")
        new = Operation("block", self._checked("block", qubits), block=block)
        size = (block.kind, block.chart, len(new.qubits))
        if self._blocks.setdefault(block.name, size) != size:
            kind, chart, count = self._blocks[block.name]
            raise CircuitError(
                f"block: {block.name!r} is {kind} on {count} qubits in the chart {chart!r}"
                " already; a weight has one kind, chart and size: give this one another name"
            )
        self._operations.append(new)
        return self

    def _checked(self, name: str, qubits: Sequence[int]) -> tuple[int, ...]:
        _check_sequence(name, qubits)
        for q in qubits:
            if isinstance(q, bool) or not isinstance(q, Integral):
                raise CircuitError(f"{name}: a qubit must be an integer, not {q!r}")
            if not 0 <= q < self.num_qubits:
                raise CircuitError(
                    f"{name}: qubit {q} is out of range; the circuit has qubits 0 to"
                    f" {self.num_qubits - 1}"
                )
        if len(set(qubits)) != len(qubits):
            raise CircuitError(f"{name}: a qubit is repeated in {tuple(qubits)}")
        return tuple(int(q) for q in qubits)

    def _with(self, operations: Iterable[Operation], num_qubits: int | None = None) -> Circuit:
        out = Circuit(num_qubits or self.num_qubits)
        for op in operations:
            if op.block is not None:
                out.block(op.block, op.qubits)
            else:
                out._operations.append(op)
        return out

    def compose(self, other: Circuit, qubits: Sequence[int] | None = None) -> Circuit:
        """This circuit followed by another, as a new circuit.

        Parameters
        ----------
        other
            The circuit that comes after.
        qubits
            Where its qubits go; by default to the qubits of the same number.
        """
        if not isinstance(other, Circuit):
            raise CircuitError(f"compose: a Circuit expected, not {other!r}")
        places = range(other.num_qubits) if qubits is None else qubits
        if len(places) != other.num_qubits:
            raise CircuitError(
                f"compose: {other.num_qubits} qubits to place, {len(places)} places given"
            )
        where = self._checked("compose", places)
        moved = [replace(op, qubits=tuple(where[q] for q in op.qubits)) for op in other._operations]
        return self._with([*self._operations, *moved])

    def inverse(self) -> Circuit:
        """The circuit that undoes this one; blocks must be bound first."""
        return self._with([op.inverse() for op in reversed(self._operations)])

    def bind(
        self,
        weights: Mapping[str, float] | None = None,
        features: Sequence[float] | Mapping[int, float] | None = None,
    ) -> Circuit:
        """Put numbers in the place of weights and features; what is not named stays free.

        Examples
        --------
        >>> c = Circuit(1).rx(weight("a"), 0).bind(weights={"a": 0.5})
        >>> c.operations[0].params[0].constant_value
        0.5
        """
        given = dict(weights or {})
        unknown = sorted(set(given) - set(self.weights))
        if unknown:
            raise CircuitError(f"bind: the circuit has no weight named {unknown[0]!r}")
        given_features = () if features is None else features
        pairs = (
            given_features.items()
            if isinstance(given_features, Mapping)
            else enumerate(given_features)
        )
        columns = {int(i): as_expr(float(x)).constant_value for i, x in pairs}
        values = {name: as_expr(float(x)).constant_value for name, x in given.items()}
        bound: list[Operation] = []
        for op in self._operations:
            if op.block is not None and set(op.weights) <= set(values):
                data = np.ascontiguousarray(op.matrix(values, ())).tobytes()
                bound.append(Operation("unitary", op.qubits, data=data))
            elif op.block is not None and set(op.weights) & set(values):
                missing = next(name for name in op.weights if name not in values)
                raise CircuitError(
                    f"bind: a block is bound as a whole; no value for {missing!r} of"
                    f" {op.block.name!r}"
                )
            else:
                params = tuple(p.bind(values, columns) for p in op.params)
                bound.append(replace(op, params=params))
        return self._with(bound)

    def decomposed(self, weights: Mapping[str, float] | None = None) -> Decomposition:
        """Matrices and blocks as one- and two-qubit gates, with fidelity and counts.

        See :func:`tn_qnn.circuit.synthesis.decompose.decomposed`.
        """
        from tn_qnn.circuit.synthesis.decompose import decomposed

        return decomposed(self, weights)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights in the order in which they first occur."""
        return tuple(dict.fromkeys(name for op in self._operations for name in op.weights))

    @property
    def num_features(self) -> int:
        """One more than the largest feature index, 0 where there is none."""
        used = {i for op in self._operations for p in op.params for i in p.features}
        return 1 + max(used, default=-1)

    def depth(self) -> int:
        """Number of layers when every gate is moved as early as it can be."""
        level: dict[int, int] = {}
        for op in self._operations:
            now = 1 + max(level.get(q, 0) for q in op.qubits)
            level.update(dict.fromkeys(op.qubits, now))
        return max(level.values(), default=0)

    def counts(self) -> dict[str, int]:
        """How often each gate occurs."""
        return dict(Counter(op.gate for op in self._operations))

    def draw(self, max_width: int | None = None) -> str:
        """The circuit as text; see :func:`tn_qnn.circuit.draw.draw`."""
        from tn_qnn.circuit.draw import draw

        return draw(self, max_width)

    def __len__(self) -> int:
        return len(self._operations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Circuit):
            return NotImplemented
        return self.num_qubits == other.num_qubits and self._operations == other._operations

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"Circuit({self.num_qubits} qubits, {len(self)} gates, depth {self.depth()},"
            f" {len(self.weights)} weights, {self.num_features} features)"
        )

    def __getattr__(self, name: str) -> Callable[..., Circuit]:
        gate = GATES.get(ALIASES.get(name, name))
        if gate is None:
            raise AttributeError(f"Circuit has no gate or attribute {name!r}")

        def method(*arguments: Any) -> Circuit:
            split = len(gate.parameters)
            return self.append(name, arguments[split:], arguments[:split])

        method.__name__, method.__doc__ = name, gate.doc
        return method

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *GATES, *ALIASES})


def _check_sequence(name: str, qubits: object) -> None:
    if isinstance(qubits, str) or not hasattr(qubits, "__len__"):
        raise CircuitError(f"{name}: qubits must be a list such as [0, 1], not {qubits!r}")
