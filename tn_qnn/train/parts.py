"""Which weights are trained, and a model of these alone.

Weights are chosen by name, by layer, by gate, by qubit, or by a mask. Layers are read off the
names: the ansätze call their weights ``prefix.layer.place.number``, and so can any circuit.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from itertools import compress
from typing import Any, TypeAlias

import numpy as np

from tn_qnn.arrays import Array, array_module, to_numpy
from tn_qnn.circuit.block_groups import groups_within
from tn_qnn.errors import InputError
from tn_qnn.train.protocol import LocalOutputs, MovedOutputs, Trainable, local_outputs

Mask: TypeAlias = np.ndarray  # bool (W,)


@dataclass(frozen=True)
class GateUse:
    """A gate of a model's circuits that depends on weights; blocks have the name "block"."""

    gate: str
    qubits: tuple[int, ...]
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Selector:
    """Some weights of whichever model: by ``layers``, ``gates`` or ``qubits``."""

    kind: str
    values: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(repr, self.values))})"


#: A name or shell-style pattern, a selector, a mask (W,), or a sequence of these: all of them.
Selection: TypeAlias = str | Selector | np.ndarray | Sequence[Any]


def layers(*numbers: int) -> Selector:
    """The weights of some layers, counted from 0, or from -1 at the end.

    A weight's layer is the first whole number between the dots of its name: that of "w.2.0.5" is 2.
    Circuits with prefixes of their own each have their own last layer.

    Examples
    --------
    >>> str(layers(0, -1))
    'layers(0, -1)'
    """
    return Selector("layers", _checked("layers", numbers, int))


def gates(*names: str) -> Selector:
    """The weights of all gates of some names, such as "ry"; "block" is a tensor-valued weight.

    Examples
    --------
    >>> str(gates("ry"))
    "gates('ry')"
    """
    return Selector("gates", _checked("gates", names, str))


def qubits(numbers: Iterable[int]) -> Selector:
    """The weights of all gates that act on one of some qubits, among others perhaps.

    Examples
    --------
    >>> str(qubits(range(2)))
    'qubits(0, 1)'
    """
    return Selector("qubits", _checked("qubits", tuple(numbers), int))


def _checked(kind: str, values: tuple[Any, ...], wanted: type) -> tuple[Any, ...]:
    whole = wanted is int
    given = tuple(int(v) if whole and isinstance(v, np.integer) else v for v in values)
    if not given or not all(isinstance(v, wanted) and not isinstance(v, bool) for v in given):
        what = "whole numbers" if whole else "names of gates"
        raise InputError(f"{kind}: got {values!r}, expected {what}, at least one.")
    return given


def trainable_mask(model: Trainable, selection: Selection, name: str = "trainable") -> Mask:
    """Return which weights a selection means, bool (W,).

    Parameters
    ----------
    model : Trainable
        Gates and qubits can be asked for where it has ``gate_uses``.
    selection : str, Selector, mask or sequence of these
        A pattern is of the shell's kind: "w.0.*", "*.ry?".
    name : str
        Of the argument, for errors.

    Raises
    ------
    InputError
        When a mask has the wrong shape or dtype, when a name, a layer, a gate or a qubit is in no
        weight, or when nothing is selected.

    Warns
    -----
    UserWarning
        When no output depends on any of the weights.

    Examples
    --------
    >>> from tn_qnn import QNN, Z
    >>> from tn_qnn.circuit.ansatz import tree
    >>> model = QNN(tree(4, "rxx"), [Z(0)])
    >>> model.weight_names
    ('w.0.0.0', 'w.0.1.0', 'w.1.0.0')
    >>> trainable_mask(model, ["w.0.1.*", layers(-1)])
    array([False,  True,  True])
    """
    mask = _mask(model, selection, name)
    if not mask.any():
        raise InputError(f"{name}: got an empty set of weights, expected at least one to train.")
    if not to_numpy(model.credit)[:, mask].any():
        warnings.warn(
            f"{name}: no output depends on any of the weights {_some(model, mask)}: training them "
            f"changes nothing.",
            stacklevel=4,
        )
    return mask


def _mask(model: Trainable, selection: Any, name: str) -> Mask:
    count = model.num_weights
    if isinstance(selection, str):
        return _named(model, selection, name)
    if isinstance(selection, Selector):
        return _FIND[selection.kind](model, selection, name)
    if isinstance(selection, Sequence) and not any(isinstance(x, bool) for x in selection):
        masks = [_mask(model, one, name) for one in selection]
        return np.any([np.zeros(count, dtype=bool), *masks], axis=0)
    given = np.asarray(selection)
    if given.dtype != bool or given.shape != (count,):
        raise InputError(
            f"{name}: got {given.dtype} of shape {given.shape}, expected a mask, bool of shape "
            f"{(count,)}, one entry a weight; or names, layers(...), gates(...), qubits(...)."
        )
    return given.copy()


def _named(model: Trainable, pattern: str, name: str) -> Mask:
    # A block's coordinates are called "U[0]": brackets mean themselves, not a set of letters.
    literal = pattern.replace("[", "[[]")
    mask = np.array([fnmatchcase(one, literal) for one in model.weight_names])
    if not mask.any():
        raise InputError(
            f"{name}: got {pattern!r}, which is the name of no weight; expected one of "
            f"model.weight_names, such as {model.weight_names[0]!r}, or a pattern such as 'w.0.*'."
        )
    return mask


def _in_layers(model: Trainable, selector: Selector, name: str) -> Mask:
    found = weight_layers(model.weight_names)
    if not any(found):
        raise InputError(
            f"{name}: got {selector}, but no weight has a layer in its name (the first is "
            f"{model.weight_names[0]!r}); expected names such as 'w.0.a', as the ansätze have; or "
            f"choose weights by name."
        )
    last: dict[str, int] = {}
    for prefix, layer in filter(None, found):
        last[prefix] = max(last.get(prefix, 0), layer)
    wanted = set(selector.values)
    known = {k for n in last.values() for k in range(-n - 1, n + 1)}
    _check_known(selector, wanted - known, f"layers 0 to {max(last.values())}", name)
    return np.array([
        one is not None and not wanted.isdisjoint((one[1], one[1] - last[one[0]] - 1))
        for one in found
    ])  # fmt: skip


def _of_gates(model: Trainable, selector: Selector, name: str) -> Mask:
    uses = _gate_uses(model, selector, name)
    known = {use.gate for use in uses}
    wanted = set(selector.values)
    _check_known(selector, wanted - known, f"gates {', '.join(sorted(known))}", name)
    return _of_uses(model, [use for use in uses if use.gate in wanted])


def _on_qubits(model: Trainable, selector: Selector, name: str) -> Mask:
    uses = _gate_uses(model, selector, name)
    known = {qubit for use in uses for qubit in use.qubits}
    wanted = set(selector.values)
    _check_known(selector, wanted - known, f"qubits up to {max(known)}", name)
    return _of_uses(model, [use for use in uses if not wanted.isdisjoint(use.qubits)])


_FIND = {"layers": _in_layers, "gates": _of_gates, "qubits": _on_qubits}


def _gate_uses(model: Trainable, selector: Selector, name: str) -> tuple[GateUse, ...]:
    uses: tuple[GateUse, ...] | None = getattr(model, "gate_uses", None)
    if uses is None:
        raise InputError(
            f"{name}: got {selector}, but {type(model).__name__} does not tell its gates; expected "
            f"names, layers(...) or a mask."
        )
    return uses


def _of_uses(model: Trainable, uses: Iterable[GateUse]) -> Mask:
    chosen = {weight for use in uses for weight in use.weights}
    return np.array([one in chosen for one in model.weight_names])


def _check_known(selector: Selector, unknown: set[Any], known: str, name: str) -> None:
    if unknown:
        first = min(unknown, key=str)
        raise InputError(
            f"{name}: got {selector}, but {first!r} has no weights; the model's are in {known}."
        )


def weight_layers(names: Sequence[str]) -> list[tuple[str, int] | None]:
    """Return each weight's prefix and layer, None where its name has no layer.

    Examples
    --------
    >>> weight_layers(["class2.0.7.1", "w.1.u.0[3]", "theta"])
    [('class2', 0), ('w', 1), None]
    """
    found = []
    for name in names:
        match = re.match(r"(.*?)\.(\d+)(?=[.\[]|$)", name)
        found.append((match[1], int(match[2])) if match else None)
    return found


def weight_places(names: Sequence[str]) -> list[str]:
    """Return where each weight stands in its circuit: its name without prefix and number.

    Examples
    --------
    >>> weight_places(["class2.0.7.1", "w.1.u.0[3]", "theta", "U[2]"])
    ['0.7', '1.u.0', 'theta', 'U']
    """
    found = []
    for name, layer in zip(names, weight_layers(names), strict=True):
        stem, bracket, _ = name.partition("[")
        place = stem[len(layer[0]) + 1 :] if layer else stem
        found.append(place if bracket or not layer else place.rpartition(".")[0] or place)
    return found


def part_of(model: Any, mask: Mask, weights: Array) -> Trainable:
    """Return a model of the weights in ``mask``, the others frozen at their values in ``weights``.

    The model's own ``part(mask, weights)`` if it has one, which folds what is frozen; else the
    model as it is, with the frozen values put in.
    """
    if mask.all():
        whole: Trainable = model
        return whole
    if hasattr(model, "part"):
        part: Trainable = model.part(mask, weights)
        return part
    kind = FrozenWithGradient if hasattr(model, "pull_back") else Frozen
    return kind(model, mask, np.array(weights, dtype=np.float64))


class Frozen:
    """A model whose frozen weights are put in at every call; nothing is saved by it.

    Parameters
    ----------
    model : Trainable
    mask : bool (W,)
        The weights that are free.
    weights : float64 (W,)

    Examples
    --------
    >>> class Line:
    ...     weight_names, num_weights, num_outputs = ("w0", "w1"), 2, 1
    ...     credit, signature = np.ones((1, 2), dtype=bool), "line"
    ...     def __call__(self, weights, X):
    ...         return weights[..., None, :1] + weights[..., None, 1:] * X
    >>> part = Frozen(Line(), np.array([True, False]), np.array([0.0, 3.0]))
    >>> part(np.array([1.0]), np.array([[2.0]])), part.weight_names
    (array([[7.]]), ('w0',))
    """

    def __init__(self, model: Trainable, mask: Mask, weights: Array) -> None:
        self.model, self.mask, self.frozen = model, mask, weights
        self.weight_names = tuple(compress(model.weight_names, mask))
        self.num_weights, self.num_outputs = len(self.weight_names), model.num_outputs
        self.credit = to_numpy(model.credit)[:, mask]
        # What else the trainer asks of a model; a device is left out: the host puts values in.
        self.num_features = getattr(model, "num_features", None)
        self.environment = dict(getattr(model, "environment", {}))
        self.backend = getattr(model, "backend", None)

    def __getattr__(self, name: str) -> Any:
        """What some models have, of the free weights: ``frequencies``, ``blocks``."""
        if name == "frequencies":
            return tuple(compress(self.model.frequencies, self.mask))  # type: ignore[attr-defined]
        if name == "blocks":
            return groups_within(self.model.blocks, np.flatnonzero(self.mask))  # type: ignore[attr-defined]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def signature(self) -> str:
        """A hash of the whole's, of what is free, and of the frozen values."""
        values = self.frozen[~self.mask].tobytes()
        parts = self.model.signature.encode(), self.mask.tobytes(), values
        return sha256(b"".join(parts)).hexdigest()

    def full(self, weights: Array) -> Array:
        """Return all weights, (..., W), from the free ones."""
        xp = array_module(weights)
        shape = (*weights.shape[:-1], len(self.frozen))
        whole = xp.array(xp.broadcast_to(xp.asarray(self.frozen), shape))
        whole[..., np.flatnonzero(self.mask)] = weights
        return whole

    def __call__(self, weights: Array, X: Array) -> Array:
        """Outputs of the model, for the free weights alone."""
        return self.model(self.full(weights), X)


class FrozenWithGradient(Frozen):
    """The same for a model that has ``pull_back``, and ``local_outputs`` and ``kept`` perhaps."""

    def kept(self, X: Array) -> tuple[FrozenWithGradient, Array] | None:
        """For some samples, with all that the model's weights do not change worked out."""
        model: Any = self.model
        found = model.kept(X) if hasattr(model, "kept") else None
        if found is None:
            return None
        return FrozenWithGradient(found[0], self.mask, self.frozen), found[1]

    def pull_back(self, weights: Array, X: Array, slopes: Any) -> tuple[Array, Array]:
        """Outputs, and the gradient by the free weights."""
        model: Any = self.model
        outputs, gradient = model.pull_back(self.full(weights), X, slopes)
        return outputs, gradient[self.mask]

    def local_outputs(self, weights: Array, X: Array, sets: Array) -> MovedOutputs:
        """Outputs with single gates turned, those that depend on free weights."""
        full = self.full(weights), X, self.full(sets)
        outputs, turned = local_outputs(self.model, *full)
        return outputs, filter(None, (self._of_free(part) for part in turned))

    def _of_free(self, part: LocalOutputs) -> LocalOutputs | None:
        kept = self.mask[part.weights]
        if not kept.any():
            return None
        own, occurrences = np.unique(part.occurrences[kept], return_inverse=True)
        weights = (np.cumsum(self.mask) - 1)[part.weights[kept]]
        return LocalOutputs(part.rows, part.outputs[own], occurrences, weights)


def _some(model: Trainable, mask: Mask) -> str:
    return some_names(compress(model.weight_names, mask))


def some_names(names: Iterable[str], most: int = 5) -> str:
    """Return a few of some names, in words.

    Examples
    --------
    >>> some_names("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    given = list(names)
    text = ", ".join(given[:most])
    return f"{text} and {len(given) - most} more" if len(given) > most else text
