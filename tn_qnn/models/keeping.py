"""What a part's training step need not work out again: constants, and values by sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array
from tn_qnn.models.fitting import Fitting
from tn_qnn.network.batch import ConeBatch, Readouts
from tn_qnn.network.canonical import Cone
from tn_qnn.network.labels import CONES, SAMPLES
from tn_qnn.network.network import Tensor
from tn_qnn.plan.cut import Branch, cut
from tn_qnn.program.fixed import fixed_value
from tn_qnn.program.given import Given

#: Samples that are worked out at once.
ROWS = 512


@dataclass(frozen=True, eq=False)
class Boundary:
    """A piece's result in the cones of a batch.

    Attributes
    ----------
    piece
        What is contracted.
    cones
        Whose values differ: all of the batch, or the first for all.
    first
        First column of the kept features; None for a constant.
    planes, elements
        Real and imaginary, and the elements of its tensor.
    """

    piece: Branch
    cones: tuple[Cone, ...]
    first: int | None
    planes: int
    elements: int

    @property
    def size(self) -> int:
        """Numbers a sample, of all cones."""
        return self.planes * self.elements * len(self.cones)


@dataclass(frozen=True, eq=False)
class Boundaries:
    """A model's networks, cut where they stop to vary.

    Attributes
    ----------
    batches
        What varies, in the place of the model's batches.
    fixed
        For each batch its pieces' results.
    raw, columns
        Columns of the kept features: how many are those of the data themselves, and all.
    """

    batches: tuple[ConeBatch, ...]
    fixed: tuple[tuple[Boundary, ...], ...]
    raw: int
    columns: int

    def constants(self, frozen: Mapping[str, float]) -> Iterator[tuple[Boundary, list[Given]]]:
        """Constant results, one a cone."""
        for boundary in self._all:
            if boundary.first is None:
                piece = boundary.piece
                found = fixed_value(piece.network, piece.path, boundary.cones, frozen)
                flat = found.reshape(len(found), -1)
                rows = np.hstack([flat.real, flat.imag][: boundary.planes])
                yield boundary, [Given(values=row) for row in rows]

    def by_sample(self) -> Iterator[tuple[Boundary, list[Given]]]:
        """Where the results that depend on data stand among the kept features."""
        for boundary in self._all:
            if boundary.first is not None:
                columns = boundary.first + np.arange(boundary.size)
                cones = columns.reshape(-1, len(boundary.cones)).T
                yield boundary, [Given(columns=np.ascontiguousarray(one)) for one in cones]

    def supply(self, given: Mapping[Boundary, Sequence[Given]]) -> Mapping[Cone, tuple[Given, ...]]:
        """For each cone its pieces' results in order."""
        return {
            cone: tuple(given[b][place if len(b.cones) > 1 else 0] for b in boundaries)
            for batch, boundaries in zip(self.batches, self.fixed, strict=True)
            for place, cone in enumerate(batch.cones)
        }

    def features(self, fitting: Fitting, X: NDArray[np.float64]) -> Array:
        """The kept features of some samples, shape (S, columns), of the fitting's dtype."""
        features = np.empty((len(X), self.columns), dtype=fitting.dtype)
        features[:, : self.raw] = X[:, : self.raw]
        for boundary, _ in self.by_sample():
            assert boundary.first is not None
            for rows, values in _contracted(fitting, boundary, X):
                last = boundary.first + boundary.size
                features[rows, boundary.first : last] = values.reshape(boundary.size, -1).T
        return features

    @property
    def _all(self) -> Iterator[Boundary]:
        return (boundary for some in self.fixed for boundary in some)


def boundaries(batches: Sequence[ConeBatch], num_features: int, keep_samples: bool) -> Boundaries:
    """Cut the networks of a model.

    Parameters
    ----------
    batches
        The model's, with paths.
    num_features
        Columns of the data.
    keep_samples
        Whether what depends on data alone is worked out too, not constants only.
    """
    cuts = [cut(batch.network, batch.path or (), keep_samples) for batch in batches]
    rest = [tensor for one in cuts for tensor in one.rest.network.tensors]
    reads = any(SAMPLES in tensor.labels and tensor.given is None for tensor in rest)
    first = raw = num_features if reads or not keep_samples else 0
    fixed = []
    for batch, one in zip(batches, cuts, strict=True):
        tensors = [tensor for tensor in one.rest.network.tensors if tensor.given is not None]
        some = [_boundary(batch, tensor, one.pieces[k]) for k, tensor in enumerate(tensors)]
        # columns of equal labels side by side: they are read as one
        for k in sorted(range(len(some)), key=lambda k: sorted(tensors[k].labels)):
            if SAMPLES in tensors[k].labels:
                some[k] = replace(some[k], first=first)
                first += some[k].size
        fixed.append(tuple(some))
    left = tuple(
        ConeBatch(batch.cones, one.rest.network, batch.free, one.rest.path)
        for batch, one in zip(batches, cuts, strict=True)
    )
    return Boundaries(left, tuple(fixed), raw, first)


def _boundary(batch: ConeBatch, tensor: Tensor, piece: Branch) -> Boundary:
    cones = batch.cones if CONES in tensor.labels else batch.cones[:1]
    elements = math.prod(piece.network.sizes[i] for i in tensor.indices)
    return Boundary(piece, cones, None, 1 if tensor.real else 2, elements)


def _contracted(
    fitting: Fitting, boundary: Boundary, X: Array
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Rows, and the values of a piece for them, (planes, elements, cones, 1, S or 1)."""
    # an open readout, whatever the cone reads out: its values may be complex
    cones = tuple(replace(cone, terms=()) for cone in boundary.cones)
    piece = boundary.piece
    batch = ConeBatch(cones, piece.network, frozenset(), piece.path)
    executors = replace(fitting, sets=1).executors(Readouts((batch,), (), 0))
    nothing = np.zeros((1, len(fitting.weight_index)))
    count = -(-len(X) // -(-len(X) // ROWS))
    for start in range(0, len(X), count):
        start = min(start, len(X) - count)  # equal lots: executors are made for one size
        rows = slice(start, start + count)
        found = np.concatenate([executor.run(nothing, X[rows]) for executor in executors], axis=1)
        yield rows, np.stack([found.real, found.imag][: boundary.planes])
