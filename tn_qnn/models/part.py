"""A part of a model: some of its weights vary, the others are numbers.

Tensors that depend on frozen weights lose the label "p". So they are contracted with each other
once, or once a sample, and not once for each weight set; the path is chosen for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tn_qnn.arrays import Array
from tn_qnn.circuit.block_groups import BlockGroup, groups_within
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.machine import free_memory
from tn_qnn.models.checks import as_floats, checked_features
from tn_qnn.models.fitting import Fitting
from tn_qnn.models.frequencies import weight_frequencies
from tn_qnn.models.keeping import Boundaries, boundaries
from tn_qnn.models.qnn import QNN
from tn_qnn.network.batch import ConeBatch, Readouts, cone_batch
from tn_qnn.network.canonical import Cone, free_positions
from tn_qnn.plan.partial import part_path, tree_work, work_of
from tn_qnn.plan.plan import Path
from tn_qnn.program.given import Supply

#: What another job costs a call in Python, in multiply-adds.
JOB_WORK = 1_000_000
#: Multiply-adds that a number of the kept features costs to be read.
GATHER_WORK = 10
#: Of the memory that a call may hold, the part that kept values may take.
SHARE = 2
#: Into so many patterns of free positions equal cones are split at the most.
MOST_PATTERNS = 16
#: So many sets of free weights a model keeps the networks and paths of.
KEPT_FOLDS = 16


class Part(QNN):
    """A model with some of its weights frozen; made by :meth:`QNN.part`.

    A :class:`~tn_qnn.train.protocol.Trainable` with the free weights alone, of the same outputs.

    Parameters
    ----------
    whole
        The model.
    mask
        Which of its weights are free, shape (W,), bool.
    weights
        Values of all weights, shape (W,); those of the free ones are not used.

    Raises
    ------
    InputError
        When a shape or a dtype is wrong, or a number is not finite.

    Examples
    --------
    >>> from tn_qnn import Circuit, Z, weight
    >>> whole = QNN(Circuit(1).ry(weight("a"), 0).ry(weight("b"), 0), [Z(0)], dtype="float64")
    >>> part = whole.part([True, False], [0.0, 0.25])
    >>> part.weight_names
    ('a',)
    >>> np.allclose(part([0.5]), whole([0.5, 0.25]))
    True
    """

    def __init__(self, whole: QNN, mask: ArrayLike, weights: ArrayLike) -> None:
        self.whole = whole
        self.mask = _checked_mask(mask, whole.num_weights)
        values = as_floats("weights", weights)
        if values.shape != self.mask.shape:
            raise InputError(f"weights: shape {self.mask.shape} expected, not {values.shape}")
        names = zip(whole.weight_names, values.tolist(), strict=True)
        self.frozen: Mapping[str, float] = dict(compress(names, ~self.mask))
        self.circuits, self.observables = whole.circuits, whole.observables
        self.requested_backend, self.backend = whole.requested_backend, whole.backend
        self.dtype, self.search, self.budget = whole.dtype, whole.search, whole.budget
        self.sets, self.samples = whole.sets, whole.samples
        self._evaluations = {}

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the free weights."""
        return tuple(compress(self.whole.weight_names, self.mask))

    @cached_property
    def readouts(self) -> Readouts:
        """Cones and networks of all outputs: what is free, or data, and constants of the rest."""
        return replace(self.whole.readouts, batches=self._fold.constants.batches)

    @property
    def _fold(self) -> Fold:
        return self.whole.folds.fold(self.weight_names)

    @cached_property
    def _supply(self) -> Supply:
        """Constants that are worked out."""
        cut = self._fold.constants
        return cut.supply(dict(cut.constants(self.frozen)))

    @property
    def _fitting(self) -> Fitting:
        return replace(self._bare, supply=self._supply)

    @property
    def _bare(self) -> Fitting:
        return replace(super()._fitting, frozen=self.frozen)

    @cached_property
    def credit(self) -> NDArray[np.bool_]:
        """Which outputs' cones hold which free weights."""
        return self.whole.credit[:, self.mask]

    @cached_property
    def frequencies(self) -> tuple[tuple[float, ...], ...]:
        """For each free weight, the frequencies by which outputs turn with it."""
        return weight_frequencies(self.whole.readouts, self.weight_names, self.frozen)

    @cached_property
    def blocks(self) -> tuple[BlockGroup, ...]:
        """The tensor-valued weights that are free as a whole."""
        return groups_within(self.whole.blocks, np.flatnonzero(self.mask))

    @cached_property
    def signature(self) -> str:
        """SHA-256 of the whole's, of what is free, and of the values of the rest."""
        values = np.array(list(self.frozen.values()), dtype=np.float64)
        parts = self.whole.signature.encode(), self.mask.tobytes(), values.tobytes()
        return sha256(b"".join(parts)).hexdigest()

    def part(self, mask: ArrayLike, weights: ArrayLike) -> Part:
        """A part of the part; see :meth:`QNN.part`."""
        free = np.zeros_like(self.mask)
        free[self.mask] = _checked_mask(mask, self.num_weights)
        values = np.zeros(len(free))
        values[self.mask] = as_floats("weights", weights)
        values[~self.mask] = list(self.frozen.values())
        return Part(self.whole, free, values)

    def kept(self, X: ArrayLike) -> tuple[KeptPart, Array] | None:
        """The part for some samples, with all that is free of its weights worked out.

        Parameters
        ----------
        X
            Data, shape (S, F).

        Returns
        -------
        model, features
            A model of the same weights and outputs, and what it takes in the place of ``X``:
            shape (S, F'), of the model's dtype, one row a sample. None where these would take more
            than their share of the memory, and where to read them costs as much as to work them
            out again.

        Examples
        --------
        >>> from tn_qnn import Z
        >>> from tn_qnn.circuit.ansatz import tree
        >>> from tn_qnn.circuit.encodings import angle
        >>> whole = QNN(angle(8).compose(tree(8)), [Z(0)], dtype="float64")
        >>> weights, X = np.linspace(0, 1, 42), np.linspace(0, 1, 24).reshape(3, 8)
        >>> part = whole.part(np.arange(42) >= 36, weights)
        >>> model, features = part.kept(X)
        >>> np.allclose(model(weights[36:], features), whole(weights, X))
        True
        """
        features = checked_features(X, self.num_features)
        cut = self._fold.everything
        if self._fold.data_work <= GATHER_WORK * cut.columns:
            return None
        size = len(features) * cut.columns * np.dtype(self.dtype).itemsize
        if size > self.budget.bytes(free_memory()) // SHARE:
            return None
        try:
            kept = cut.features(self._bare, features)
        except MemoryBudgetError:
            return None
        return KeptPart(self, cut), kept


class KeptPart(Part):
    """A part for samples whose fixed values are worked out; made by :meth:`Part.kept`."""

    def __init__(self, part: Part, cut: Boundaries) -> None:
        values = np.zeros(len(part.mask))
        values[~part.mask] = list(part.frozen.values())
        super().__init__(part.whole, part.mask, values)
        self._cut = cut

    @cached_property
    def readouts(self) -> Readouts:
        """Cones and networks of what is free."""
        return replace(self.whole.readouts, batches=self._cut.batches)

    @property
    def num_features(self) -> int:
        """Number of columns that the features have."""
        return self._cut.columns

    @cached_property
    def _supply(self) -> Supply:
        cut = self._cut
        return cut.supply(dict(cut.constants(self.frozen)) | dict(cut.by_sample()))


@dataclass(frozen=True, eq=False)
class Fold:
    """A model's networks where only some weights vary."""

    batches: tuple[ConeBatch, ...]
    num_features: int

    @cached_property
    def data_work(self) -> int:
        """Multiply-adds a sample of what depends on data, but on no free weight."""
        works = (work_of(b.network, b.path or (), 1, 1).data * len(b.cones) for b in self.batches)
        return sum(works)

    @cached_property
    def constants(self) -> Boundaries:
        """Cut where they depend on nothing."""
        return boundaries(self.batches, self.num_features, keep_samples=False)

    @cached_property
    def everything(self) -> Boundaries:
        """Cut where they depend on no free weight."""
        return boundaries(self.batches, self.num_features, keep_samples=True)


class Folds:
    """Networks and paths of a model's parts, which no value of a weight changes.

    Those of the sets of free weights that were asked for last are kept.
    """

    def __init__(self, model: QNN) -> None:
        self._model = model
        self._kept: dict[frozenset[str], Fold] = {}

    def fold(self, free: Collection[str]) -> Fold:
        """The model's networks where only some weights vary."""
        key = frozenset(free)
        found = self._kept.pop(key, None)
        if found is None:
            batches = [b for k in range(len(self._paths)) for b in self._folded(k, key)]
            found = Fold(tuple(batches), self._model.num_features)
        self._kept[key] = found  # last used, last out
        while len(self._kept) > KEPT_FOLDS:
            del self._kept[next(iter(self._kept))]
        return found

    @cached_property
    def _paths(self) -> tuple[Path, ...]:
        """The whole model's path of each batch of cones."""
        model = self._model
        sizes = model.sets, model.samples
        return tuple(model.search.plan(b.network, *sizes).path for b in model.readouts.batches)

    def _folded(self, number: int, free: frozenset[str]) -> list[ConeBatch]:
        """Equal cones by what is free in them: split where that is cheaper, still ones apart."""
        path, model = self._paths[number], self._model
        patterns: dict[tuple[int, ...], list[Cone]] = {}
        for cone in model.readouts.batches[number].cones:
            patterns.setdefault(free_positions(cone, free), []).append(cone)
        still = patterns.pop((), [])
        found = [cone_batch(still, free, path)] if still else []
        if not patterns:
            return found
        ways = [[[cone for cones in patterns.values() for cone in cones]]]
        if len(patterns) <= MOST_PATTERNS:
            ways.append(list(patterns.values()))
        batches = [[cone_batch(cones, free) for cones in way] for way in ways]
        best = min(batches, key=lambda some: self._work(some, path))
        sizes = model.sets, model.samples
        return found + [replace(b, path=part_path(b.network, path, *sizes)) for b in best]

    def _work(self, batches: Sequence[ConeBatch], path: Path) -> int:
        """Multiply-adds that depend on weight sets, about, and what the jobs cost beside."""
        sizes = self._model.sets, self._model.samples
        return sum(
            JOB_WORK + len(b.cones) * tree_work(b.network, path, *sizes).varying for b in batches
        )


def _checked_mask(mask: Any, count: int) -> NDArray[np.bool_]:
    given = np.asarray(mask)
    if given.dtype != bool or given.shape != (count,):
        raise InputError(
            f"mask: bool of shape {(count,)} expected, one entry a weight, not {given.dtype} of"
            f" {given.shape}"
        )
    return given.copy()
