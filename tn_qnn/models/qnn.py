"""The model: circuits with readouts, a function of weights and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tn_qnn.arrays import array_module
from tn_qnn.backends import get_backend
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import DTYPES
from tn_qnn.circuit.block_groups import BlockGroup, block_groups
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable, output_bounds
from tn_qnn.errors import BackendError, InputError
from tn_qnn.models.checks import (
    as_circuits,
    as_observables,
    check_count,
    checked_arrays,
    checked_features,
    checked_weights,
)
from tn_qnn.models.evaluation import Evaluation
from tn_qnn.models.explain import Explanation, explained
from tn_qnn.models.fitting import Fitting
from tn_qnn.models.frequencies import weight_frequencies
from tn_qnn.models.gradients import Gradients, Slopes
from tn_qnn.models.local_forms import LocalForms, paired_readouts
from tn_qnn.network.batch import Readouts, read_out
from tn_qnn.plan.budget import Search, UserPath
from tn_qnn.program.job import Job
from tn_qnn.train.exact import loss_and_gradient
from tn_qnn.train.losses import Loss, LossFunction, get_loss
from tn_qnn.train.parts import GateUse
from tn_qnn.train.protocol import MovedOutputs

if TYPE_CHECKING:
    from tn_qnn.models.part import Folds, Part


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
        self.circuits = as_circuits(circuits)
        self.observables = as_observables(observables, self.circuits)
        if dtype not in DTYPES:
            raise InputError(f"dtype: one of {DTYPES} expected, not {dtype!r}")
        check_count("sets", sets)
        check_count("samples", samples)
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
            executors = self._fitting.executors(readouts)
            self._evaluations[weights_per_sample] = Evaluation(
                executors, self.readouts.offsets, self.device, self.budget
            )
        return self._evaluations[weights_per_sample]

    @cached_property
    def _gradients(self) -> Gradients:
        sweeping = replace(self._fitting, sets=1, reverse=True)
        return Gradients(
            sweeping.executors(self.readouts),
            self.readouts.offsets,
            self.device,
            self.budget,
            self.backend.free_memory,
        )

    @cached_property
    def _local_forms(self) -> LocalForms:
        sweeping = replace(self._fitting, sets=1, reverse=True)
        executors = sweeping.executors(paired_readouts(self.readouts))
        return LocalForms(executors, self.budget, self.backend.free_memory)

    @property
    def _fitting(self) -> Fitting:
        kind = np.dtype(self.dtype)
        sizes = self.sets, self.samples
        return Fitting(self.backend, kind, self.budget, self.search, *sizes, self._weight_index)

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
        if self.blocks:
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

    @cached_property
    def gate_uses(self) -> tuple[GateUse, ...]:
        """All gates that depend on weights, circuit by circuit."""
        operations = (op for circuit in self.circuits for op in circuit.operations)
        return tuple(GateUse(op.gate, op.qubits, op.weights) for op in operations if op.weights)

    @cached_property
    def folds(self) -> Folds:
        """Networks and paths of the model's parts."""
        from tn_qnn.models.part import Folds

        return Folds(self)

    def part(self, mask: ArrayLike, weights: ArrayLike) -> Part:
        """The model with some of its weights frozen: a model of the others.

        Parameters
        ----------
        mask
            Which weights are free, shape (W,), bool.
        weights
            Values, shape (W,); those of free weights are not used.

        Raises
        ------
        InputError
            When a shape or a dtype is wrong, or a number is not finite.

        Examples
        --------
        >>> from tn_qnn.circuit.observables import Z
        >>> from tn_qnn.circuit.slots import weight
        >>> model = QNN(Circuit(1).ry(weight("a"), 0).ry(weight("b"), 0), [Z(0)])
        >>> model.part([False, True], [np.pi, 0.0])([0.0])
        array([[-1.]], dtype=float32)
        """
        from tn_qnn.models.part import Part

        return Part(self, mask, weights)

    @cached_property
    def blocks(self) -> tuple[BlockGroup, ...]:
        """The tensor-valued weights, and where their coordinates stand among the weights."""
        return block_groups(self.circuits, self._weight_index)

    @cached_property
    def output_bounds(self) -> NDArray[np.float64]:
        """Bounds of the outputs' magnitudes, shape (K,): the norms of the observables."""
        bounds = [bound for o in self.observables for bound in output_bounds(o)]
        return np.array(bounds * len(self.circuits))

    @cached_property
    def frequencies(self) -> tuple[tuple[float, ...], ...]:
        """For each weight, the frequencies by which outputs turn with it.

        See :func:`~tn_qnn.models.frequencies.weight_frequencies`, also for errors.
        """
        return weight_frequencies(self.readouts, self.weight_names)

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
        features = checked_features(X, self.num_features)
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
        sets, single, features = checked_arrays(
            xp, weights, X, self._weight_index, self.num_features, self.device
        )
        out = self._prepared(sets.ndim == 3).on_arrays(xp, sets, features)
        return out[0] if single else out

    def pull_back(
        self, weights: ArrayLike | Mapping[str, float], X: ArrayLike | None, slopes: Slopes
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Outputs, and the gradient of a loss whose slope in the outputs is known.

        An adjoint written by hand: one sweep back over the contraction gives the environment of
        every tensor that depends on weights, and twice the real part of its product with the
        tensor's derivative is the exact derivative by the weight.

        Parameters
        ----------
        weights
            A mapping from names, or shape (W,).
        X
            Data, shape (S, F), or None for a circuit without features.
        slopes
            ``slopes(outputs, rows)`` is called for each chunk of samples, ``outputs`` (s, K) being
            those of ``X[rows]``, and gives the derivative of the loss by them, (s, K).

        Returns
        -------
        outputs, gradient
            Shapes (S, K) and (W,), float64.

        Raises
        ------
        InputError
            For a wrong shape, NaN or infinite values, or a weight without a value.
        MemoryBudgetError
            When not even one sample fits.

        Examples
        --------
        >>> from tn_qnn.circuit.observables import Z
        >>> from tn_qnn.circuit.slots import weight
        >>> model = QNN(Circuit(1).ry(weight("a"), 0), [Z(0)], dtype="float64")
        >>> outputs, gradient = model.pull_back([0.3], None, lambda out, rows: np.ones((1, 1)))
        >>> np.allclose(outputs, np.cos(0.3)), np.allclose(gradient, -np.sin(0.3))
        (True, True)
        """
        features = checked_features(X, self.num_features)
        one = self._one_set(weights, features)
        outputs, gradient = self._gradients.run(one[None], features, slopes)
        return outputs[0], gradient[0]

    def value_and_grad(
        self,
        weights: ArrayLike | Mapping[str, float],
        X: ArrayLike | None,
        y: ArrayLike,
        loss: str | Loss | LossFunction = "cross_entropy",
        sample_weight: ArrayLike | None = None,
    ) -> tuple[float, NDArray[np.float64]]:
        """Mean loss over samples and its exact gradient, by :meth:`pull_back`.

        Parameters
        ----------
        weights, X
            As for :meth:`pull_back`.
        y
            Shape (S, ...), what the loss takes.
        loss
            "cross_entropy", "mse", "hinge", a Loss with a slope, or a callable.
        sample_weight
            Shape (S,).

        Raises
        ------
        InputError
            As :meth:`pull_back`; also for a loss without a slope.

        Examples
        --------
        >>> from tn_qnn.circuit.observables import Z
        >>> from tn_qnn.circuit.slots import weight
        >>> model = QNN(Circuit(1).ry(weight("a"), 0), [Z(0)], dtype="float64")
        >>> value, gradient = model.value_and_grad([np.pi / 2], None, [[1.0]], "mse")
        >>> round(value, 6), gradient.round(6).tolist()
        (1.0, [2.0])
        """
        return loss_and_gradient(self, get_loss(loss), weights, X, y, sample_weight)

    def local_outputs(
        self, weights: ArrayLike, X: ArrayLike | None, sets: ArrayLike
    ) -> MovedOutputs:
        """Outputs where single gates have the angles of other weights, all else as it is.

        One sweep back over networks in which ket and bra of a gate are one tensor tells each
        output as a closed form of each gate's angle.

        Parameters
        ----------
        weights, sets
            Shapes (W,) and (N, W).
        X
            Data, shape (S, F), or None for a circuit without features.

        Returns
        -------
        outputs, turned
            Outputs (S, K), float64, at ``weights``, and an iterator over
            :class:`~tn_qnn.train.protocol.LocalOutputs`.

        Raises
        ------
        InputError
            For a wrong shape, numbers that are not finite, or tensor-valued weights that vary.
        MemoryBudgetError
            When not even one sample fits.
        """
        features = checked_features(X, self.num_features)
        one = self._one_set(weights, features)
        others = self._checked_weights(sets, len(features))[0]
        outputs = np.asarray(self(one, features), dtype=float)
        return outputs, self._local_forms.run(one, features, others, outputs)

    def _one_set(self, weights: Any, features: NDArray[np.float64]) -> NDArray[np.float64]:
        sets, single = self._checked_weights(weights, len(features))
        if not single:
            raise InputError(f"weights: shape ({self.num_weights},) expected, not {sets.shape}")
        return sets[0]

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
        return explained(self, self._prepared(False).executors, sets, samples, error)

    def _checked_weights(
        self, weights: ArrayLike | Mapping[str, float] | None, samples: int
    ) -> tuple[NDArray[np.float64], bool]:
        return checked_weights(weights, self._weight_index, samples)
