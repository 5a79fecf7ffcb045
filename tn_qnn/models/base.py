"""What the scikit-learn estimators share: parameters, training, the model file's common part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted, validate_data

from tn_qnn.circuit.ansatz.blocks import BlockFunction
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.models import fields
from tn_qnn.models.assemble import Ansatz, Design, Encoding, Readout, assemble
from tn_qnn.models.choices import chosen_estimator
from tn_qnn.models.head import LinearHead, Model
from tn_qnn.models.model_file import (
    SavedModel,
    has_model,
    model_from_json,
    model_to_json,
    write_model,
)
from tn_qnn.models.orders import picture_side
from tn_qnn.models.parameters import parameter_to_json
from tn_qnn.models.qnn import QNN
from tn_qnn.models.scaling import MinMax
from tn_qnn.train import Estimator, Loss, Trainer
from tn_qnn.train.augment import Shifts
from tn_qnn.train.callbacks import Callback
from tn_qnn.train.checkpoint import has_checkpoint
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import LossFunction
from tn_qnn.train.protocol import Mover
from tn_qnn.train.regularisation import L2
from tn_qnn.train.updates import Update

Array = NDArray[Any]
Validation = tuple[ArrayLike, ArrayLike]


class QNNEstimator(BaseEstimator):
    """What classifier and regressor share; see :class:`QNNClassifier` for the parameters."""

    kind: ClassVar[str]

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
        feature_range: tuple[float, float] = (0.0, np.pi),
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
        loss: str | Loss | LossFunction = "mse",
        initial_weights: Any = "uniform",
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
        self.ansatz = ansatz
        self.encoding = encoding
        self.layers = layers
        self.block = block
        self.bond_qubits = bond_qubits
        self.orders = orders
        self.observables = observables
        self.head = head
        self.regularisation = regularisation
        self.feature_range = feature_range
        self.scale_together = scale_together
        self.shifts = shifts
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.perturbation = perturbation
        self.directions = directions
        self.estimator = estimator
        self.schedule = schedule
        self.retraction = retraction
        self.update = update
        self.loss = loss
        self.initial_weights = initial_weights
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.progress = progress
        self.seed = seed
        self.dtype = dtype
        self.backend = backend
        self.devices = devices
        self.search = search
        self.memory = memory
        self.threads = threads

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save the fitted estimator; :func:`load_estimator` needs no code of the user's.

        Functions among the parameters cannot be saved: an ansatz or encoding becomes the circuits
        that it made, a loss and callbacks of one's own are left out.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            When there is nothing to save.
        CheckpointError
            When the folder cannot be written; what it held before is left as it was.
        """
        check_is_fitted(self, "weights_")
        write_model(folder, self._saved(self.model_, self.weights_, self.n_iter_))

    def __getstate__(self) -> dict[str, Any]:
        """Compiled programs stay behind: copies, and processes of joblib, make their own."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = model_to_json(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "model_" in state:
            model = model_from_json(state["model_"], "state", devices=state.get("devices"))
            state = {**state, "model_": model}
        super().__setstate__(state)

    def _train(
        self,
        data: Data,
        held: Data | None,
        loss: str | Loss | LossFunction,
        num_outputs: int,
        resume: bool,
        **weighting: Any,
    ) -> None:
        """Train on checked data, and keep a model file beside the checkpoint."""
        self.__dict__.pop("weights_", None)  # no half-fitted estimator if this fails
        self.scaling_ = MinMax.fit(data.X, self.feature_range, self._scaled_together())
        model = self._made_model(data.X.shape[1], num_outputs)
        trainer = Trainer(
            model,
            loss,
            chosen_estimator(
                self.estimator,
                self.learning_rate,
                self.perturbation,
                self.directions,
                self.schedule,
            ),
            self.update,
            seed=self.seed,
            augment=self._augmentation(data.X.shape[1]),
            regularisation=self._regularisation(),
            retraction=self.retraction,
        )
        self._claim(model, resume)
        result = trainer.fit(
            self._angles(model, data.X),
            data.y,
            steps=self.steps,
            batch_size=self.batch_size,
            weights=self.initial_weights,
            validation=None if held is None else (self._angles(model, held.X), held.y),
            validate_every=self.validate_every,
            callbacks=self.callbacks,
            checkpoint=self.checkpoint,
            checkpoint_every=self.checkpoint_every,
            sample_weight=data.sample_weight,
            resume=resume,
            progress=self.progress,
            **weighting,
        )
        self.model_, self.weights_ = model, result.weights
        self.n_iter_, self.result_ = result.step, result
        if self.checkpoint is not None:
            self.save(self.checkpoint)

    def _made_model(self, num_features: int, num_outputs: int) -> Model:
        design = Design(
            self.ansatz,
            self.encoding,
            self.layers,
            self.block,
            self.bond_qubits,
            self.orders,
            self.observables,
            self.head,
            self.seed,
        )
        circuits, observables = assemble(design, num_features, num_outputs)
        network = QNN(
            circuits,
            observables,
            backend=self.backend,
            devices=self.devices,
            dtype=self.dtype,
            search=self.search,
            memory=self.memory,
            threads=self.threads,
        )
        return network if self.head is None else LinearHead(network, num_outputs)

    def _scaled_together(self) -> bool:
        """Features that are pixels of one picture have one scale."""
        if self.scale_together is None:
            return self.orders is not None or self.shifts != 0
        return bool(self.scale_together)

    def _augmentation(self, num_features: int) -> Shifts | None:
        """Shifts of the training pictures, whose edges are as the least value of all."""
        if self.shifts == 0:
            return None
        side = picture_side(num_features)
        most = int(self.shifts) if isinstance(self.shifts, np.integer) else self.shifts
        try:
            return Shifts((side, side), most, float(self.scaling_.first))
        except InputError as error:
            raise InputError(f"shifts: {error}") from error

    def _regularisation(self) -> L2 | None:
        if self.regularisation == 0:
            return None
        if self.head is None:
            raise InputError(
                f"regularisation: got {self.regularisation!r} without a head, whose weights it"
                " bounds; add head='linear' or leave it 0"
            )
        return L2(self.regularisation)

    def _claim(self, model: Model, resume: bool) -> None:
        """Write a model file without weights, so that a killed run can be used and resumed."""
        if self.checkpoint is None or resume:
            return
        if has_checkpoint(self.checkpoint) or has_model(self.checkpoint):
            raise CheckpointError(
                f"checkpoint: {self.checkpoint} holds a trained model already; fit with resume=True"
                " to go on with it, give another folder, or delete it"
            )
        write_model(self.checkpoint, self._saved(model, None, None))

    def _saved(self, model: Model, weights: Array | None, step: int | None) -> SavedModel:
        parameters = self.get_params(deep=False)
        if any(map(callable, (self.ansatz, self.encoding, self.block))):
            # The circuits hold what the others said.
            parameters.update(
                ansatz=model.circuits, encoding=None, layers=None, observables=model.observables,
                block=None, bond_qubits=1, orders=None,
                scale_together=self._scaled_together(),
            )  # fmt: skip
        parameters["callbacks"] = [c for c in self.callbacks if parameter_to_json(c)]
        # A folder may be moved, devices are those of this machine.
        parameters.update(checkpoint=None, devices=None)
        values = {name: parameter_to_json(value) for name, value in parameters.items()}
        facts = {
            "parameters": {name: value for name, value in values.items() if value is not None},
            "features": self.n_features_in_,
            "feature_names": getattr(self, "feature_names_in_", np.array([])).tolist(),
            "feature_range": [self.scaling_.first, self.scaling_.last],
            "restore_best": any(getattr(c, "restore_best", False) for c in self.callbacks),
        }
        arrays = {"feature_low": self.scaling_.low, "feature_high": self.scaling_.high}
        return SavedModel(self.kind, model, weights, step, facts, arrays)

    def _restore(self, saved: SavedModel, where: str) -> None:
        """Take on the fitted state of a model file, all but the weights."""
        facts = fields.record(
            saved.facts, where, ["features", "feature_names", "feature_range", "restore_best"]
        )
        self.n_features_in_ = fields.whole(facts["features"], f"{where}.features", 1)
        names = fields.items(facts["feature_names"], f"{where}.feature_names")
        if names:
            fields.items(names, f"{where}.feature_names", self.n_features_in_)
            self.feature_names_in_ = np.array(
                [fields.text(name, f"{where}.feature_names") for name in names], dtype=object
            )
        self.scaling_ = read_scaling(
            saved, "feature", facts["feature_range"], self.n_features_in_, where
        )
        if saved.model.num_features > self.n_features_in_:
            raise CheckpointError(f"{where}.features: fewer than the circuits use")
        self.model_ = saved.model

    def _angles(self, model: Model, X: Array) -> Array:
        # The trainer takes no columns that the circuit does not use.
        return self.scaling_.apply(X)[:, : model.num_features]

    def _outputs(self, X: ArrayLike) -> Array:
        """Expectation values for new data, shape (samples, outputs), float64."""
        check_is_fitted(self, "weights_")
        with input_errors():
            checked = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(
            self.model_(self.weights_, self._angles(self.model_, checked)), dtype=float
        )

    def _split(self, data: Data, labels: Array | None) -> tuple[Data, Data | None]:
        """Hold out a share of the samples for validation, by ``validation_fraction``."""
        share = self.validation_fraction
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise InputError(f"validation_fraction: a number in [0, 1) expected, not {share!r}")
        if share == 0:
            return data, None
        with input_errors("validation_fraction: "):
            kept, held = train_test_split(
                np.arange(len(data.X)),
                test_size=share,
                stratify=labels,
                random_state=self.seed % 2**32,
            )
        return data.take(kept), data.take(held)


def read_scaling(saved: SavedModel, name: str, bounds: Any, columns: int, where: str) -> MinMax:
    """A scaling from a model file: ``name_low`` and ``name_high`` and the range."""
    ends = [fields.real(bound, where) for bound in fields.items(bounds, where, 2)]
    low, high = (saved.arrays.get(f"{name}_{end}", np.array([])) for end in ("low", "high"))
    if low.shape != (columns,) or high.shape != (columns,) or not ends[0] < ends[1]:
        raise CheckpointError(f"{where}: the scaling of {name}s does not fit")
    return MinMax(low, high, *ends)


def checked_sample_weight(value: ArrayLike | None, samples: int) -> Array | None:
    """Weights of the samples, shape (samples,), or None."""
    if value is None:
        return None
    with input_errors("sample_weight: "):
        weight = np.asarray(value, dtype=float)
    if weight.shape != (samples,):
        raise InputError(
            f"sample_weight: shape {(samples,)} expected, one a row of X, not {weight.shape}"
        )
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise InputError(
            "sample_weight: negative, infinite or NaN, or all of them zero; numbers of 0 or more"
            " are needed, one at least above zero"
        )
    return weight


def pair(validation: Any) -> tuple[Any, Any]:
    """Validation data as features and targets."""
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise InputError(f"validation: a pair (X, y) expected, not {type(validation).__name__}")
    return validation[0], validation[1]


@contextmanager
def input_errors(prefix: str = "") -> Iterator[None]:
    """Turn scikit-learn's plain ValueErrors into ours."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{prefix}{error}") from error
