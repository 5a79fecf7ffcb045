"""Every error that the engine raises on purpose; all derive from :class:`TnQnnError`."""


class TnQnnError(Exception):
    """Base class of all errors raised by tn_qnn."""


class InputError(TnQnnError, ValueError):
    """An argument has the wrong shape, type or value."""


class CircuitError(InputError):
    """A circuit, gate, slot or observable is not legal."""


class QasmError(InputError):
    """OpenQASM text that is malformed, unsupported or over a limit."""


class PlanError(TnQnnError):
    """No contraction plan could be found or read."""


class MemoryBudgetError(PlanError):
    """The plan does not fit in the memory budget, sliced or not."""


class BackendError(TnQnnError, RuntimeError):
    """A backend is missing or cannot do what was asked."""


class CheckpointError(TnQnnError):
    """A model file or checkpoint is damaged or belongs to another model."""
