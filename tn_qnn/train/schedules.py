"""Schedules: which weights are trained when, in phases; for any estimator and any update rule.

A schedule is a frozen record. Its phase of a number is a pure function of the model's weight names
and the seed, so a run that was broken off finds its way without any memory; only
:class:`ExpectedGain` also asks for gradients where a phase begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, derived_seed, permutation
from tn_qnn.train.inputs import positive
from tn_qnn.train.parts import (
    Mask,
    Selection,
    Selector,
    trainable_mask,
    weight_layers,
    weight_places,
)
from tn_qnn.train.protocol import Trainable

#: "layers", "places" (all weights whose names differ in prefix and number alone), or selections.
Blocks: TypeAlias = str | Sequence[Selection]


@dataclass(frozen=True, eq=False)
class Phase:
    """Some steps that train the same weights.

    Attributes
    ----------
    mask : bool (W,)
    steps : int or None
        None: to the end of the run.
    """

    mask: Mask
    steps: int | None


@dataclass(frozen=True, eq=False)
class View:
    """What a schedule sees where a phase begins.

    Attributes
    ----------
    model : Trainable
        The whole model.
    seed : int
        The run's.
    gradients : callable (count) -> float64 (count, W)
        Independent estimates of the loss's gradient at the present weights.
    """

    model: Trainable
    seed: int
    gradients: Callable[[int], Array]


@runtime_checkable
class Schedule(Protocol):
    """Says what is trained when. A frozen record.

    One with ``adaptive = True`` looks at gradients; then nobody can tell its phases in advance.
    """

    adaptive: ClassVar[bool]

    def phase(self, number: int, view: View) -> Phase:
        """Return phase ``number`` = 0, 1, ..."""
        ...


@dataclass(frozen=True)
class Only:
    """The same weights from the first step to the last: what ``fit(trainable=...)`` means.

    Examples
    --------
    >>> Only("w.0.*")
    Only(trainable='w.0.*')
    """

    trainable: Selection
    adaptive: ClassVar[bool] = False

    def phase(self, number: int, view: View) -> Phase:
        """Return the one phase."""
        return Phase(trainable_mask(view.model, self.trainable), None)


@dataclass(frozen=True)
class LayerByLayer:
    """One layer after the other, and again from the first.

    Parameters
    ----------
    steps : int
        Of a phase.
    reverse : bool
        From the last layer to the first.
    always : selection, optional
        Weights that are trained in every phase beside, such as "head*".

    Examples
    --------
    >>> from tn_qnn import QNN, Z
    >>> from tn_qnn.circuit.ansatz import tree
    >>> view = View(QNN(tree(4, "rxx"), [Z(0)]), 0, lambda count: np.zeros((count, 3)))
    >>> [LayerByLayer(steps=50).phase(n, view).mask.tolist() for n in (0, 1)]
    [[True, True, False], [False, False, True]]
    """

    steps: int
    reverse: bool = False
    always: Selection | None = None
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("steps", self.steps)

    def phase(self, number: int, view: View) -> Phase:
        """See :class:`Schedule`."""
        masks = _ordered_layers(view.model, self.reverse)
        return Phase(masks[number % len(masks)] | _always(self, view.model), self.steps)


@dataclass(frozen=True)
class Growing:
    """A circuit that grows: one more layer a phase joins those in training, until all do.

    Layers that have not joined stay at their initial weights; initial weights "identity" make them
    nearly the identity, so that the circuit as it were grows with its training.

    Source: A. Skolik, J. R. McClean, M. Mohseni, P. van der Smagt, M. Leib, Quantum Mach. Intell. 3
    (2021) 5.

    Parameters
    ----------
    steps : int
        Of a phase; the last one, of all layers, goes on to the end.
    reverse : bool
        The last layer comes first.
    always : selection, optional
        Weights that are trained in every phase beside.

    Examples
    --------
    >>> from tn_qnn import QNN, Z
    >>> from tn_qnn.circuit.ansatz import tree
    >>> view = View(QNN(tree(4, "rxx"), [Z(0)]), 0, lambda count: np.zeros((count, 3)))
    >>> [Growing(steps=50).phase(n, view).mask.tolist() for n in (0, 1, 2)]
    [[True, True, False], [True, True, True], [True, True, True]]
    """

    steps: int
    reverse: bool = False
    always: Selection | None = None
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("steps", self.steps)

    def phase(self, number: int, view: View) -> Phase:
        """See :class:`Schedule`."""
        masks = _ordered_layers(view.model, self.reverse)
        mask = masks[: number + 1].any(axis=0) | _always(self, view.model)
        return Phase(mask, self.steps if number + 1 < len(masks) else None)


@dataclass(frozen=True)
class RandomBlocks:
    """Some blocks a phase, drawn at random; every block has its turn before any has a second.

    Parameters
    ----------
    steps : int
        Of a phase.
    blocks : "places", "layers" or sequence of selections
        What is drawn from. Blocks at the same place of several circuits are one.
    width : int
        Blocks a phase.
    always : selection, optional
        Weights that are trained in every phase beside.

    Examples
    --------
    >>> from tn_qnn import QNN, Z
    >>> from tn_qnn.circuit.ansatz import tree
    >>> view = View(QNN(tree(4, "rxx"), [Z(0)]), 0, lambda count: np.zeros((count, 3)))
    >>> masks = [RandomBlocks(steps=50).phase(n, view).mask for n in range(3)]
    >>> np.sum(masks, axis=0)
    array([1, 1, 1])
    """

    steps: int
    blocks: Blocks = "places"
    width: int = 1
    always: Selection | None = None
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_blocks(self)

    def phase(self, number: int, view: View) -> Phase:
        """See :class:`Schedule`."""
        masks = block_masks(view.model, self.blocks)
        turn, place = divmod(number, -(-len(masks) // self.width))
        order = permutation(derived_seed(view.seed, Stream.SCHEDULE), turn, len(masks))
        chosen = masks[order[place * self.width : (place + 1) * self.width]]
        return Phase(chosen.any(axis=0) | _always(self, view.model), self.steps)


@dataclass(frozen=True)
class Sweeps:
    """Back and forth over the blocks, as the sweeps of DMRG.

    Parameters
    ----------
    steps : int
        Of a phase.
    blocks : "places", "layers" or sequence of selections
        In this order; places and layers are in that of their first weights.
    width : int
        Neighbouring blocks a phase.
    always : selection, optional
        Weights that are trained in every phase beside.

    Examples
    --------
    >>> from tn_qnn import QNN, Z
    >>> from tn_qnn.circuit.ansatz import tree
    >>> view = View(QNN(tree(4, "rxx"), [Z(0)]), 0, lambda count: np.zeros((count, 3)))
    >>> [int(Sweeps(steps=50).phase(n, view).mask.argmax()) for n in range(6)]
    [0, 1, 2, 1, 0, 1]
    """

    steps: int
    blocks: Blocks = "places"
    width: int = 1
    always: Selection | None = None
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_blocks(self)

    def phase(self, number: int, view: View) -> Phase:
        """See :class:`Schedule`."""
        masks = block_masks(view.model, self.blocks)
        windows = -(-len(masks) // self.width)
        place = number % max(1, 2 * (windows - 1))
        place = min(place, 2 * (windows - 1) - place)
        chosen = masks[place * self.width : (place + 1) * self.width]
        return Phase(chosen.any(axis=0) | _always(self, view.model), self.steps)


@dataclass(frozen=True)
class ExpectedGain:
    """The blocks from whose training most is to be expected: those of the longest gradient.

    A small step along the gradient of a block lowers the loss by the squared length of that
    gradient. It is estimated from the products of independent estimates, so their noise adds
    nothing on average. This is the Gauss-Southwell rule for blocks: J. Nutini, M. Schmidt, I. H.
    Laradji, M. Friedlander, H. Koepke, ICML (2015).

    Parameters
    ----------
    steps : int
        Of a phase.
    blocks : "places", "layers" or sequence of selections
        What is chosen from.
    width : int
        Blocks a phase.
    estimates : int
        Gradients of all weights that are estimated where a phase begins, 2 or more: each on a
        minibatch of its own. They count as evaluations.
    always : selection, optional
        Weights that are trained in every phase beside.

    Examples
    --------
    >>> from tn_qnn import QNN, Z
    >>> from tn_qnn.circuit.ansatz import tree
    >>> view = View(QNN(tree(4, "rxx"), [Z(0)]), 0, lambda count: np.eye(3)[[1] * count])
    >>> ExpectedGain(steps=50).phase(0, view).mask
    array([False,  True, False])
    """

    steps: int
    blocks: Blocks = "places"
    width: int = 1
    estimates: int = 4
    always: Selection | None = None
    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_blocks(self)
        if positive("estimates", self.estimates) < 2:
            raise InputError(
                "estimates: got 1, expected 2 or more, whose products are free of bias."
            )

    def phase(self, number: int, view: View) -> Phase:
        """See :class:`Schedule`."""
        masks = block_masks(view.model, self.blocks)
        gradients = view.gradients(self.estimates)
        n = len(gradients)
        squares = (gradients.sum(axis=0) ** 2 - (gradients**2).sum(axis=0)) / (n * (n - 1))
        best = np.argsort(-(masks @ squares), kind="stable")[: self.width]
        return Phase(masks[best].any(axis=0) | _always(self, view.model), self.steps)


def block_masks(model: Trainable, blocks: Blocks) -> np.ndarray:
    """Return the weights of each block, bool (B, W).

    Raises
    ------
    InputError
        When there are no such blocks, or a selection of them is not legal.
    """
    if isinstance(blocks, str):
        return _named_blocks(tuple(model.weight_names), blocks)
    return np.array([trainable_mask(model, one, "blocks") for one in blocks])


@lru_cache(maxsize=8)
def _named_blocks(names: tuple[str, ...], blocks: str) -> np.ndarray:
    keys: list[Any] = list(weight_places(names))
    if blocks == "layers":
        layers = weight_layers(names)
        if not any(layers):
            raise InputError(
                f"blocks: got 'layers', but no weight has one in its name (the first is "
                f"{names[0]!r}); expected names such as 'w.0.a', as the ansätze have. Give the "
                f"blocks themselves, as selections."
            )
        # What is in no layer, such as a head, comes after them.
        deepest = max(layer for _, layer in filter(None, layers))
        keys = [found[1] if found else deepest + 1 for found in layers]
        order = sorted(set(keys))
    else:
        order = list(dict.fromkeys(keys))
    place = {key: number for number, key in enumerate(order)}
    masks: np.ndarray = np.arange(len(order))[:, None] == np.array([place[key] for key in keys])
    return masks


def _ordered_layers(model: Trainable, reverse: bool) -> np.ndarray:
    masks = block_masks(model, "layers")
    return masks[::-1] if reverse else masks


def _always(schedule: Any, model: Trainable) -> Mask:
    if schedule.always is None:
        return np.zeros(model.num_weights, dtype=bool)
    return trainable_mask(model, schedule.always, "always")


def _check_blocks(schedule: Any) -> None:
    positive("steps", schedule.steps)
    positive("width", schedule.width)
    blocks = schedule.blocks
    if blocks not in ("places", "layers") if isinstance(blocks, str) else not len(blocks):
        raise InputError(
            f"blocks: got {blocks!r}, expected 'places', 'layers' or selections, at least one."
        )


def get_schedule(trainable: Any) -> Schedule | None:
    """Return a schedule as it is, None for None, and anything else as a set of weights.

    Examples
    --------
    >>> get_schedule("w.0.*")
    Only(trainable='w.0.*')
    """
    if trainable is None or hasattr(trainable, "phase"):
        found: Schedule | None = trainable
        return found
    return Only(trainable)


def described(schedule: Schedule | None) -> Any:
    """Return what defines a schedule, as JSON-able values.

    Examples
    --------
    >>> described(LayerByLayer(steps=50))
    {'name': 'LayerByLayer', 'steps': 50, 'reverse': False, 'always': None}
    """
    if schedule is None:
        return None
    names: list[str] = [field.name for field in fields(schedule)] if is_dataclass(schedule) else []
    values = {name: getattr(schedule, name) for name in names}
    return {"name": type(schedule).__name__} | {k: _plain(v) for k, v in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Selector):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return sha256(value.tobytes()).hexdigest()
    return value
