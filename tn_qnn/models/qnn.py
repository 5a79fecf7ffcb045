"""The model: circuits with readouts, a function of weights and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tn_qnn.arrays import array_module
from tn_qnn.backends import get_backend
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import DTYPES
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import DensityMatrix, Observable, check_observable
from tn_qnn.errors import BackendError, InputError
from tn_qnn.models.evaluation import Evaluation
from tn_qnn.models.explain import CALL_SECONDS, Explanation, hardware_cost, job_cost
from tn_qnn.models.fitting import Fitting
from tn_qnn.network.batch import Readouts, read_out
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.plan.budget import Search, UserPath
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job


class QNN:
    """A quantum neural network: expectation values as a function of weights and data.

    Parameters
    ----------
    circuits
        One circuit or several, which share weights of the same name.
    observables
        Read out of every circuit; outputs are ordered circuit by circuit.
    backend
        "auto" (the default: a GPU where CuPy sees one, else the CPU), "cuda", "cpu" or "einsum"
        (slow, for comparison).
    dtype
        "float32" or "float64": the precision of planes, real or complex.
    search
        How long to look for a contraction path: "greedy", "fast", "auto" or "long"; a path of
        one's own, as SSA pairs; or ``tn_qnn.plan.budget.Search(level, seconds)``.
    memory
        What a call may hold of each topology: bytes (at least 1000), or a share of the free
        memory (0 < share < 1).
    threads
        Threads of the CPU backend; default all cores.
    devices
        Numbers of the GPUs that share the work; default the first.
    sets, samples
        Batch sizes that the plan is made for; any other sizes run on the same plan.

    Raises
    ------
    InputError
        When an argument is not legal.
    BackendError
        When the backend cannot be used here, with what to install.
    MemoryBudgetError
        At the first call, when the plan does not fit in the memory, sliced or not.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import Z
    >>> from tn_qnn.circuit.slots import feature, weight
    >>> c = Circuit(2).ry(feature(0), 0).cx(0, 1).ry(weight("a"), 1)
    >>> model = QNN(c, [Z(1)])
    >>> model([0.0], [[0.0], [np.pi]]).round(4)
    array([[ 1.],
           [-1.]], dtype=float32)
    """

    def __init__(
        self,
        circuits: Circuit | Sequence[Circuit],
        observables: Observable | Sequence[Observable],
        *,
        backend: str = "auto",
        dtype: str = "float32",
        search: str | UserPath | Search = "fast",
        memory: float = 0.5,
        threads: int | None = None,
        devices: Sequence[int] | None = None,
        sets: int = 2,
        samples: int = 256,
    ) -> None:
        self.circuits = _as_circuits(circuits)
        self.observables = _as_observables(observables, self.circuits)
        if dtype not in DTYPES:
            raise InputError(f"dtype: one of {DTYPES} expected, not {dtype!r}")
        _check_count("sets", sets)
        _check_count("samples", samples)
        self.requested_backend, self.dtype = backend, dtype
        self.backend = get_backend(backend, threads, devices)
        self.search = search if isinstance(search, Search) else Search(search)
        self.budget = Budget(memory)
        self.sets, self.samples = int(sets), int(samples)
        self._evaluations: dict[bool, Evaluation] = {}

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in the order of the columns of ``weights``."""
        return tuple(dict.fromkeys(name for c in self.circuits for name in c.weights))

    @cached_property
    def _weight_index(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.weight_names)}

    @property
    def num_weights(self) -> int:
        """Number of weights."""
        return len(self.weight_names)

    @cached_property
    def num_features(self) -> int:
        """Number of columns that the data must have at least."""
        return max(c.num_features for c in self.circuits)

    @cached_property
    def readouts(self) -> Readouts:
        """Cones and networks of all outputs."""
        return read_out(self.circuits, self.observables)

    @property
    def num_outputs(self) -> int:
        """Number of outputs."""
        return self.readouts.num_outputs

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What runs: a job for every distinct cone topology, split where memory is short."""
        return tuple(executor.job for executor in self._prepared(False).executors)

    def _prepared(self, weights_per_sample: bool) -> Evaluation:
        if weights_per_sample not in self._evaluations:
            readouts = self.readouts.per_sample() if weights_per_sample else self.readouts
            fitting = Fitting(
                self.backend,
                np.dtype(self.dtype),
                self.budget,
                self.search,
                self.sets,
                self.samples,
                self._weight_index,
            )
            executors = [e for batch in readouts.batches for e in fitting.executors(batch)]
            constants = np.zeros(self.num_outputs)
            for output, value in readouts.constants:
                constants[output] += value
            self._evaluations[weights_per_sample] = Evaluation(
                tuple(executors), constants, self.device, self.budget
            )
        return self._evaluations[weights_per_sample]

    @property
    def device(self) -> Any:
        """The first GPU's runtime, or None."""
        runtimes = getattr(self.backend, "runtimes", None)
        return runtimes[0] if runtimes else None

    @property
    def ops(self) -> Any:
        """Kernels for what training needs beside elementwise arithmetic, or None on the CPU."""
        return self.device.ops if self.device else None

    @property
    def capturable(self) -> bool | str:
        """Whether a call can be captured in a CUDA graph: True, or why not."""
        if self.device is None:
            return "there is no GPU"
        if len(getattr(self.backend, "devices", ())) > 1:
            return "several GPUs share the work"
        if any(op.block for circuit in self.circuits for op in circuit.operations):
            return "tensor-valued blocks are worked out by cuSOLVER"
        return True

    @cached_property
    def credit(self) -> NDArray[np.bool_]:
        """Which outputs' cones hold which weights, shape (outputs, weights)."""
        mask = np.zeros((self.num_outputs, self.num_weights), dtype=bool)
        index = self._weight_index
        for batch in self.readouts.batches:
            for cone in batch.cones:
                names = {n for e in cone.elements for n in e.weight_names}
                columns = [index[n] for n in names]
                width = 1 if cone.terms else 4**cone.num_observed
                for output, _ in (pair for part in cone.parts for pair in part):
                    mask[output : output + width, columns] = True
        return mask

    def __call__(
        self, weights: ArrayLike | Mapping[str, float] | None = None, X: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Outputs for weights and data.

        Parameters
        ----------
        weights
            A mapping from names, or an array of shape (W,); a stack of weight sets (P, W);
            weight sets a sample (P, S, W).
        X
            Data, shape (S, F). Without features in the circuit it may be left out.

        Returns
        -------
        ndarray
            Shape (S, K), or (P, S, K) for stacked weights, of the model's dtype. CuPy arrays of
        float64 give CuPy arrays of float64, on backends "cuda" and "einsum": nothing is copied to
        the host, and no value is looked at.

        Raises
        ------
        InputError
            For a wrong shape, NaN or infinite values, or a weight without a value.
        """
        xp = array_module(X if weights is None or isinstance(weights, Mapping) else weights)
        if xp is not np:
            return self._on_arrays(xp, weights, X)
        features = self._checked_features(X)
        sets, single = self._checked_weights(weights, len(features))
        out = self._prepared(sets.ndim == 3).on_host(sets, features, np.dtype(self.dtype))
        return out[0] if single else out

    def _on_arrays(self, xp: Any, weights: Any, X: Any) -> Any:
        """Outputs, float64, of device arrays: shapes are checked, values are not looked at."""
        if self.backend.name == "cpu":
            raise BackendError(
                f"weights: {xp.__name__} arrays given to backend='cpu'; pass NumPy arrays, or make"
                " the model with backend='cuda'"
            )
        named = weights is None or isinstance(weights, Mapping)
        given = X if named else weights
        if self.device is not None and given.device.id != self.device.device:
            raise InputError(
                f"weights, X: arrays of GPU {self.device.device} expected, as the model's, not of"
                f" GPU {given.device.id}"
            )
        with given.device:
            features = xp.zeros((1, 0)) if X is None else X
            if array_module(features) is not xp or features.device != given.device:
                raise InputError(
                    f"X: an array of {xp.__name__} expected beside such weights, on the same GPU"
                )
            if named:
                weights = xp.asarray(self._checked_weights(weights, len(features))[0][0])
        shape = (weights.shape, features.shape)
        single = weights.ndim == 1
        sets = weights[None] if single else weights
        if (
            sets.ndim not in (2, 3) or sets.shape[-1] != self.num_weights
            or features.ndim != 2 or features.shape[1] < self.num_features
            or (sets.ndim == 3 and sets.shape[1] != len(features))
            or not all((*sets.shape[:-1], len(features)))
            or {sets.dtype, features.dtype} != {np.dtype(float)}
        ):  # fmt: skip
            raise InputError(
                f"weights, X: float64 of shapes ({self.num_weights},), (sets, {self.num_weights})"
                f" or (sets, samples, {self.num_weights}), and (samples >= 1, {self.num_features})"
                f" expected, not {sets.dtype} and {features.dtype} of {shape}"
            )
        out = self._prepared(sets.ndim == 3).on_arrays(xp, sets, features)
        return out[0] if single else out

    @cached_property
    def signature(self) -> str:
        """SHA-256 of everything that defines the outputs: circuits, observables, dtype."""
        from tn_qnn.models.serialise import model_signature

        return model_signature(self)

    @property
    def environment(self) -> dict[str, Any]:
        """What the last bits of the outputs may depend on beside the model, for checkpoints.

        Chunks, tiles and threads are not among it: they change no bit.
        """
        plans = [
            {
                "path": sha256(repr(job.program.plan.path).encode()).hexdigest()[:16],
                "sliced": list(job.program.sliced),
            }
            for job in self.jobs
        ]
        versions = {name: version(name) for name in ("numpy", "numba", "llvmlite")}
        name = self.device.facts.name if self.device else ""
        return {
            "backend": self.backend.name,
            "device": name,
            "plans": plans,
            "versions": versions,
        }

    def explain(
        self, sets: int | None = None, samples: int | None = None, error: float = 0.01
    ) -> Explanation:
        """What a call costs, before it runs; ``print`` it.

        Parameters
        ----------
        sets, samples
            Batch size; by default the sizes that the plan is made for.
        error
            Standard error of an output, for the number of shots on hardware.
        """
        if not error > 0:
            raise InputError(f"error: a positive number expected, not {error!r}")
        p, s = self.sets if sets is None else sets, self.samples if samples is None else samples
        _check_count("sets", p)
        _check_count("samples", s)
        costs = tuple(job_cost(e.job, e, p, s) for e in self._prepared(False).executors)
        per_sample = sum(
            compile_program(
                b.network, Search().plan(b.network, self.sets, self.samples)
            ).multiply_adds({CONES: len(b.cones), SETS: p, SAMPLES: s})
            for b in self.readouts.per_sample().batches
        )
        work = sum(cost.multiply_adds for cost in costs)
        seconds = CALL_SECONDS * len(costs) + work / self.backend.speed(self.dtype)
        return Explanation(
            p, s, self.num_outputs, costs, per_sample, seconds,
            hardware_cost(self.circuits, self.observables, error),
        )  # fmt: skip

    def _checked_features(self, X: ArrayLike | None) -> NDArray[np.float64]:
        if X is None:
            if self.num_features:
                raise InputError(
                    f"X: the circuit uses {self.num_features} features; pass data of shape"
                    f" (samples, {self.num_features})"
                )
            return np.zeros((1, 0))
        features = _as_floats("X", X)
        if features.ndim != 2 or features.shape[1] < self.num_features or not len(features):
            raise InputError(
                f"X: shape (samples >= 1, {self.num_features}) expected, not {features.shape}"
            )
        return features

    def _checked_weights(
        self, weights: ArrayLike | Mapping[str, float] | None, samples: int
    ) -> tuple[NDArray[np.float64], bool]:
        if weights is None:
            weights = {}
        if isinstance(weights, Mapping):
            known = self._weight_index
            missing = [name for name in self.weight_names if name not in weights]
            unknown = [name for name in weights if name not in known]
            if missing:
                raise InputError(
                    f"weights: no value for {missing[0]!r}; pass weights={{{missing[0]!r}: ...}}"
                )
            if unknown:
                raise InputError(f"weights: the model has no weight named {unknown[0]!r}")
            weights = [weights[name] for name in self.weight_names]
        array = _as_floats("weights", weights)
        count = self.num_weights
        if (
            array.ndim == 0
            or array.shape[-1] != count
            or array.ndim > 3
            or not all(array.shape[:-1])
        ):
            raise InputError(
                f"weights: shape ({count},), (sets, {count}) or (sets, samples, {count})"
                f" expected, not {array.shape}"
            )
        if array.ndim == 3 and array.shape[1] != samples:
            raise InputError(
                f"weights: {array.shape[1]} samples in the weights, {samples} in X; they must agree"
            )
        return (array[None], True) if array.ndim == 1 else (array, False)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InputError(f"{name}: an integer >= 1 expected, not {value!r}")


def _as_floats(name: str, value: ArrayLike) -> NDArray[np.float64]:
    try:
        given = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: an array of numbers expected ({error})") from error
    if given.dtype.kind not in "fiub":
        raise InputError(f"{name}: an array of real numbers expected, not of {given.dtype}")
    array = given.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        if array.ndim == 0:
            raise InputError(f"{name}: an array of finite numbers expected, not {float(array)}")
        bad = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(array)))
        raise InputError(f"{name}: NaN or infinite at position {bad}; clean the data first")
    return array


def _as_circuits(circuits: Circuit | Sequence[Circuit]) -> tuple[Circuit, ...]:
    if not isinstance(circuits, Circuit | Sequence):
        raise InputError(f"circuits: a Circuit or a sequence of them expected, not {circuits!r}")
    found = (circuits,) if isinstance(circuits, Circuit) else tuple(circuits)
    if not found or not all(isinstance(c, Circuit) for c in found):
        raise InputError(f"circuits: a Circuit or a sequence of them expected, not {circuits!r}")
    # a copy: what the caller appends later is not part of the model
    return tuple(c.compose(Circuit(c.num_qubits)) for c in found)


def _as_observables(
    observables: Observable | Sequence[Observable], circuits: Sequence[Circuit]
) -> tuple[Observable, ...]:
    single = hasattr(observables, "qubits")
    if not single and not isinstance(observables, Sequence):
        raise InputError(
            f"observables: an observable or a list of them expected, not {observables!r}"
        )
    found = (observables,) if single else tuple(observables)  # type: ignore[arg-type]
    if not found:
        raise InputError("observables: at least one is needed")
    fewest = min(c.num_qubits for c in circuits)
    return tuple(check_observable(o, fewest) for o in found)


def expectation(
    circuit: Circuit,
    observable: Observable,
    weights: Mapping[str, float] | None = None,
    features: Sequence[float] | None = None,
    *,
    dtype: str = "float64",
    verify: bool = False,
    **options: Any,
) -> float | NDArray[np.complex128]:
    """Expectation value of one observable, without a model of one's own.

    Parameters
    ----------
    circuit, observable
        What to evaluate.
    weights, features
        Values for the circuit's weights and features.
    dtype
        Precision, "float64" by default.
    verify
        Also compute it by the dense simulator (up to 20 qubits) and compare.
    options
        Passed to :class:`QNN`.

    Returns
    -------
    float
        The value; for ``density_matrix`` the matrix, shape (d, d), complex.

    Raises
    ------
    InputError
        As :class:`QNN`; also when ``verify`` finds a difference above 1e-4 (float32) or 1e-9.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import Z
    >>> round(expectation(Circuit(2).h(0).cx(0, 1), Z(0) @ Z(1)), 6)
    1.0
    """
    from tn_qnn.circuit.observables import unpack_density

    model = QNN(circuit, [observable], dtype=dtype, sets=1, samples=1, **options)
    rows = None if features is None else np.asarray(features, dtype=float)[None]
    outputs = model(weights, rows)[0].astype(float)
    value = unpack_density(outputs) if isinstance(observable, DensityMatrix) else float(outputs[0])
    if verify:
        from tn_qnn import dense

        values = model._checked_weights(weights, 1)[0].reshape(-1)
        named = dict(zip(model.weight_names, values.tolist(), strict=True))
        exact = dense.expectation(circuit, observable, named, features)
        difference = float(np.max(np.abs(np.asarray(value) - exact)))
        if difference > (1e-4 if dtype == "float32" else 1e-9):
            raise BackendError(
                f"verify: the dense simulator differs by {difference:.3g}; please report this"
            )
    return value
