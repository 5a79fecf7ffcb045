"""scikit-learn estimators: a QNN with its encoding, scaling, training and labels in one object."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from tn_qnn.circuit.ansatz.blocks import BlockFunction
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.models import fields
from tn_qnn.models.assemble import Ansatz, Encoding, Readout
from tn_qnn.models.base import (
    Array,
    QNNEstimator,
    Validation,
    checked_sample_weight,
    input_errors,
    pair,
    read_scaling,
)
from tn_qnn.models.head import Model
from tn_qnn.models.model_file import Machine, SavedModel, read_model, trained_weights
from tn_qnn.models.parameters import labels_from_json, labels_to_json, parameter_from_json
from tn_qnn.models.scaling import MinMax
from tn_qnn.train import Estimator, Loss, cross_entropy
from tn_qnn.train.callbacks import Callback
from tn_qnn.train.checkpoint import has_checkpoint
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import LossFunction
from tn_qnn.train.protocol import Mover
from tn_qnn.train.updates import Update

CLASSIFIERS_OWN = {"self", "__class__", "logit_scale", "class_weight"}
TARGET_RANGE = (-0.9, 0.9)  # expectation values that a regressor aims at; the ends are flat


class QNNClassifier(ClassifierMixin, QNNEstimator):
    """A quantum neural network as a scikit-learn classifier.

    By default there is one circuit a class, with weights of its own: features, scaled to angles,
    turn one qubit each, a tree of two-qubit blocks joins them, and Z of the tree's top qubit is
    the class's score. Two classes need one circuit: its Z is above zero for the second class.

    Parameters
    ----------
    ansatz : str, Circuit, sequence of Circuit, or function
        "tree", "mera", "qcnn", "matrix_product", "brickwork", "hardware_efficient" or
        "strongly_entangling"; a function takes the number of qubits and, where it is to make one
        circuit a class, ``prefix``, with which its weights' names must begin.
    encoding : str, Circuit, function of the number of features, or None
        "angle" (RY), "iqp" or "zz_feature_map"; None where the ansatz holds the features.
    layers : int, optional
        Of an ansatz that has layers.
    block : str or function, optional
        Of an ansatz of blocks: "so4", "su4", "orthogonal" or "unitary" (matrices as weights), the
        name of a gate, or a function of :mod:`tn_qnn.circuit.ansatz.blocks`. Default: the
        ansatz's own, with wider bonds "orthogonal".
    bond_qubits : int
        Of a tree or a matrix product: qubits that a block passes on, for a bond dimension of
        ``2**bond_qubits``.
    orders : str or sequence of str, optional
        In which the pixels of a square picture enter: "row" (as given), "snake", "hilbert",
        "transposed", "z" or "random"; with a head one circuit for each. For encodings by name.
    observables : observable or sequence, optional
        Several are read out of one circuit for all classes. Default: Z of the ansatz's result;
        with a head the density matrix of the qubits that hold it.
    head : "linear", optional
        Scores are a linear function, trained too, of all that is read out, see
        :class:`~tn_qnn.models.head.LinearHead`.
    regularisation : float
        Of the head: this times half the sum of its weights' squares is added to the loss.
    feature_range : (float, float)
        Features are scaled to it, each by its least and greatest value in the training data, and
        clipped.
    scale_together : bool, optional
        Scale by the least and greatest value of all features; None: where ``orders`` or
        ``shifts`` say that they are pixels.
    shifts : int
        Training pictures are shifted by up to so many pixels along each side, anew in each step;
        what moves in is as empty as the least value of all.
    steps, batch_size
        Of the training.
    learning_rate, perturbation, directions
        ``first_step``, ``c`` and ``directions`` of the estimator, as far as it has them.
    estimator : str or Estimator, optional
        "spsa" (default), "local_spsa", "exact" or "parameter_shift", with the three above, or
        one's own.
    schedule : "power", "constant" or "cosine", optional
        How the steps shrink, of an estimator by name; default: as that has it.
    retraction : "polar" or "qr", optional
        Brings the entries of tensor-valued weights back to a unitary matrix after each step.
    update : "adam", "momentum", "sgd" or an update rule
    loss : "cross_entropy", "hinge", a Loss, or a callable (outputs, y) -> (samples,)
    logit_scale : float
        Scores times this are the logits: of the cross-entropy, and of the probabilities. A head
        finds its own scale, but slowly: what it reads out is of size 1 or less.
    initial_weights : "uniform", "small", "identity", (W,), or mapping
    class_weight : "balanced", or mapping from label to weight, optional
    validation_fraction : float
        Share of the training data that is held out to validate on.
    validate_every : int
        Steps.
    callbacks : sequence of callables
        Such as :class:`~tn_qnn.train.EarlyStopping`.
    checkpoint : folder, optional
        Keeps model file, checkpoint and history; it must not hold a trained model yet.
    checkpoint_every : int, optional
        Steps; None: when 30 s have passed.
    progress : bool, optional
        Show a progress bar; None: in notebooks and terminals.
    seed : int
        Of weights, minibatches, directions and the validation split.
    dtype, backend, devices, search, memory, threads
        As :class:`~tn_qnn.models.qnn.QNN` takes them.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    model_ : QNN or LinearHead
    weights_ : float64 array (W,)
    scaling_ : MinMax
    result_ : TrainResult
        Of the last ``fit``, with the history; a loaded estimator has none.
    n_iter_ : int
        Steps behind the weights.
    n_features_in_, feature_names_in_
        As scikit-learn has them.

    References
    ----------
    Grant et al., npj Quantum Inf. 4, 65 (2018), for the tree-shaped classifier.

    Examples
    --------
    >>> X = np.array([[0.0, 0.1], [0.2, 0.0], [0.9, 1.0], [1.0, 0.8]])
    >>> model = QNNClassifier(steps=50, batch_size=4).fit(X, ["low", "low", "high", "high"])
    >>> model.predict([[0.1, 0.1], [0.9, 0.9]]).tolist()
    ['low', 'high']
    """

    kind = "classifier"

    def __init__(
        self,
        ansatz: Ansatz = "tree",
        *,
        encoding: Encoding = "angle",
        layers: int | None = None,
        block: str | BlockFunction | None = None,
        bond_qubits: int = 1,
        orders: str | Sequence[str] | None = None,
        observables: Readout = None,
        head: str | None = None,
        regularisation: float = 0.0,
        feature_range: tuple[float, float] = (0.0, np.pi / 2),
        scale_together: bool | None = None,
        shifts: int = 0,
        steps: int = 1000,
        batch_size: int = 64,
        learning_rate: float = 0.05,
        perturbation: float = 0.1,
        directions: int = 8,
        estimator: str | Estimator | Mover | None = None,
        schedule: str | None = None,
        retraction: Literal["polar", "qr"] | None = None,
        update: str | Update = "adam",
        loss: str | Loss | LossFunction = "cross_entropy",
        logit_scale: float = 10.0,
        initial_weights: Any = "uniform",
        class_weight: str | Mapping[Any, float] | None = None,
        validation_fraction: float = 0.0,
        validate_every: int = 100,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        progress: bool | None = False,
        seed: int = 0,
        dtype: str = "float32",
        backend: str = "auto",
        devices: Sequence[int] | None = None,
        search: str = "fast",
        memory: float = 0.5,
        threads: int | None = None,
    ) -> None:
        # All other arguments go to the base, under their own names.
        super().__init__(**{k: v for k, v in locals().items() if k not in CLASSIFIERS_OWN})
        self.logit_scale = logit_scale
        self.class_weight = class_weight

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        validation: Validation | None = None,
        resume: bool = False,
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : (samples, features)
        y : (samples,)
            Labels, at least two different ones.
        sample_weight : (samples,), optional
        validation : (X, y), optional
            Data to validate on, in the place of ``validation_fraction``.
        resume : bool
            Go on from the checkpoint, with the data and parameters of before; ``steps`` counts
            from the very start.

        Raises
        ------
        InputError
            For data or a parameter that is not legal; the message names it.
        CheckpointError
            When ``checkpoint`` cannot be written, is in use, or cannot be resumed.
        """
        with input_errors():
            features, labels = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(labels)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise InputError(
                f"y: one class only ({self.classes_[0]!r}), at least two classes are needed; check"
                " how the samples were chosen"
            )
        data = Data(features, targets, checked_sample_weight(sample_weight, len(features)))
        data, held = self._split(data, targets)
        if validation is not None:
            held = self._checked_validation(validation)
        self._train(
            data,
            held,
            cross_entropy(self._scale()) if self.loss == "cross_entropy" else self.loss,
            1 if count == 2 else count,
            resume,
            class_weight=self._class_weight(),
        )
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Scores, in [-1, 1] without a head: (samples, classes), or (samples,) for two classes."""
        outputs = self._outputs(X)
        return outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities (samples, classes): the softmax of the scaled scores."""
        logits = self._scale() * self._outputs(X)
        if len(self.classes_) == 2:
            logits = np.hstack([-logits, logits])
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def predict(self, X: ArrayLike) -> Array:
        """Labels, shape (samples,)."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[index]

    def _scale(self) -> float:
        scale = self.logit_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e300:
            raise InputError(f"logit_scale: a finite number above 0 expected, not {scale!r}")
        return float(scale)

    def _checked_validation(self, validation: Validation) -> Data:
        X, y = pair(validation)
        with input_errors("validation "):
            X, y = validate_data(self, X, y, dtype=np.float64, reset=False)
        unknown = [label for label in np.unique(y) if label not in self.classes_]
        if unknown:
            raise InputError(f"validation y: the label {unknown[0]!r} does not occur in y")
        return Data(X, np.searchsorted(self.classes_, y))

    def _class_weight(self) -> Any:
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        unknown = [label for label in self.class_weight if label not in self.classes_]
        if unknown:
            raise InputError(f"class_weight: the label {unknown[0]!r} does not occur in y")
        return {int(np.flatnonzero(self.classes_ == k)[0]): w for k, w in self.class_weight.items()}

    def _saved(self, model: Model, weights: Array | None, step: int | None) -> SavedModel:
        saved = super()._saved(model, weights, step)
        facts = {**saved.facts, "classes": labels_to_json(self.classes_)}
        return SavedModel(self.kind, model, weights, step, facts, saved.arrays)

    def _restore(self, saved: SavedModel, where: str) -> None:
        super()._restore(saved, where)
        facts = fields.record(saved.facts, where, ["classes"])
        self.classes_ = labels_from_json(facts["classes"], f"{where}.classes")
        count = len(self.classes_)
        if saved.model.num_outputs != (1 if count == 2 else count):
            raise CheckpointError(f"{where}.classes: {count} labels do not fit the model's outputs")
        self._scale()


class QNNRegressor(RegressorMixin, QNNEstimator):
    """A quantum neural network as a scikit-learn regressor.

    Targets are scaled to expectation values from -0.9 to 0.9, which one circuit learns.
    The parameters are those of :class:`QNNClassifier`, without ``logit_scale`` and
    ``class_weight``; losses are "mse", a Loss, or a callable. Features are scaled to [0, pi].

    Attributes
    ----------
    target_scaling_ : MinMax
        Of the targets; other attributes are those of :class:`QNNClassifier`.

    Examples
    --------
    >>> X = np.linspace(0, 1, 40)[:, None]
    >>> model = QNNRegressor(steps=300, batch_size=40, directions=2).fit(X, np.cos(3 * X[:, 0]))
    >>> model.score(X, np.cos(3 * X[:, 0])) > 0.9
    True
    """

    kind = "regressor"

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        validation: Validation | None = None,
        resume: bool = False,
    ) -> Self:
        """Train; as :meth:`QNNClassifier.fit`, with numbers for ``y``."""
        data = self._checked(X, y, reset=True)
        weight = checked_sample_weight(sample_weight, len(data.X))
        data, held = self._split(replace(data, sample_weight=weight), None)
        if validation is not None:
            with input_errors("validation "):
                held = self._checked(*pair(validation), reset=False)
        self.target_scaling_ = MinMax.fit(data.y[:, None], TARGET_RANGE)
        self._train(self._scaled(data), held and self._scaled(held), self.loss, 1, resume)
        return self

    def _scaled(self, data: Data) -> Data:
        return replace(data, y=self.target_scaling_.apply(data.y[:, None]))

    def _checked(self, X: ArrayLike, y: ArrayLike, reset: bool) -> Data:
        with input_errors():
            checked, targets = validate_data(
                self, X, y, dtype=np.float64, y_numeric=True, multi_output=True, reset=reset
            )
            return Data(checked, column_or_1d(targets, warn=True).astype(float))

    def predict(self, X: ArrayLike) -> Array:
        """Predicted targets, shape (samples,)."""
        outputs = self._outputs(X)
        return self.target_scaling_.undo(outputs)[:, 0]

    def _saved(self, model: Model, weights: Array | None, step: int | None) -> SavedModel:
        saved = super()._saved(model, weights, step)
        scaling = self.target_scaling_
        arrays = {**saved.arrays, "target_low": scaling.low, "target_high": scaling.high}
        return SavedModel(self.kind, model, weights, step, saved.facts, arrays)

    def _restore(self, saved: SavedModel, where: str) -> None:
        super()._restore(saved, where)
        self.target_scaling_ = read_scaling(saved, "target", list(TARGET_RANGE), 1, where)


def load_estimator(
    folder: str | os.PathLike[str], **machine: Unpack[Machine]
) -> QNNClassifier | QNNRegressor:
    """Read a fitted estimator from the folder of ``save``, or of a training run's checkpoint.

    From a run that was killed it takes the checkpoint's weights. Where there is a checkpoint,
    ``fit(X, y, resume=True)`` goes on from it.

    Parameters
    ----------
    folder
        Of a model file.
    machine
        As in :func:`~tn_qnn.models.model_file.load_model`.

    Raises
    ------
    CheckpointError
        When there is no model file, or it is damaged, foreign, of an unknown version, of a bare
        QNN (see :func:`~tn_qnn.models.model_file.load_model`), or without weights.
    BackendError
        When this machine lacks the backend; ``backend="auto"`` loads the model nevertheless.

    Examples
    --------
    >>> import tempfile
    >>> fitted = QNNClassifier(steps=5).fit([[0.0, 0.2], [1.0, 0.7]], ["no", "yes"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fitted.save(folder)
    ...     loaded = load_estimator(folder)
    >>> bool((loaded.predict_proba([[0.3, 0.4]]) == fitted.predict_proba([[0.3, 0.4]])).all())
    True
    """
    saved = read_model(folder, **machine)
    classes: dict[str, Any] = {made.kind: made for made in (QNNClassifier, QNNRegressor)}
    if saved.kind not in classes:
        raise CheckpointError(f"{folder}: holds a bare QNN, no estimator; use load_model")
    where = f"{folder}: facts"
    facts = fields.record(saved.facts, where, ["parameters"])
    known = classes[saved.kind]().get_params(deep=False)
    parameters = {}
    for name, value in fields.record(facts["parameters"], f"{where}.parameters").items():
        if name not in known:
            raise CheckpointError(f"{where}: {saved.kind}s have no parameter {name!r}")
        parameters[name] = parameter_from_json(value, f"{where}.parameters.{name}")
    if "backend" in machine:
        parameters.pop("threads", None)
    estimator: QNNClassifier | QNNRegressor = classes[saved.kind](**{**parameters, **machine})
    try:
        estimator._restore(saved, where)
    except InputError as error:
        raise CheckpointError(f"{where}: {error}") from error
    if has_checkpoint(folder):
        estimator.checkpoint = folder
    best = facts.get("restore_best") is True
    estimator.weights_, step = trained_weights(folder, saved, best)
    estimator.n_iter_ = step or 0
    return estimator
