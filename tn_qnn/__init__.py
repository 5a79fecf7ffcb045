"""Quantum neural networks far wider than any statevector, trained as tensor networks.

>>> import tn_qnn as tq
>>> circuit = tq.Circuit(2).ry(tq.feature(0), 0).cx(0, 1).ry(tq.weight("a"), 1)
>>> model = tq.QNN(circuit, [tq.Z(1)])
>>> float(model([0.0], [[0.0]])[0, 0])
1.0
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.observables import I, X, Y, Z, density_matrix, parity, projector
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import TnQnnError

if TYPE_CHECKING:
    from tn_qnn.circuit.qasm import from_qasm, to_qasm
    from tn_qnn.models.estimators import QNNClassifier, QNNRegressor, load_estimator
    from tn_qnn.models.expectation import expectation
    from tn_qnn.models.head import LinearHead
    from tn_qnn.models.model_file import load_model, save_model
    from tn_qnn.models.qnn import QNN
    from tn_qnn.train import SPSA, ExactGradient, Trainer

__version__ = "0.1.0"

#: Names that are imported when they are first used, and where they live.
_LATER = {
    "QNN": "tn_qnn.models.qnn",
    "expectation": "tn_qnn.models.expectation",
    "LinearHead": "tn_qnn.models.head",
    "QNNClassifier": "tn_qnn.models.estimators",
    "QNNRegressor": "tn_qnn.models.estimators",
    "from_qasm": "tn_qnn.circuit.qasm",
    "load_estimator": "tn_qnn.models.estimators",
    "load_model": "tn_qnn.models.model_file",
    "save_model": "tn_qnn.models.model_file",
    "to_qasm": "tn_qnn.circuit.qasm",
    "ExactGradient": "tn_qnn.train",
    "SPSA": "tn_qnn.train",
    "Trainer": "tn_qnn.train",
}
_MODULES = {
    "ansatz": "tn_qnn.circuit.ansatz",
    "dense": "tn_qnn.dense",
    "encodings": "tn_qnn.circuit.encodings",
    "graphs": "tn_qnn.circuit.graphs",
    "qasm": "tn_qnn.circuit.qasm",
    "train": "tn_qnn.train",
}

__all__ = [
    "GATES",
    "QNN",
    "SPSA",
    "Circuit",
    "ExactGradient",
    "I",
    "LinearHead",
    "QNNClassifier",
    "QNNRegressor",
    "TnQnnError",
    "Trainer",
    "X",
    "Y",
    "Z",
    "density_matrix",
    "expectation",
    "feature",
    "from_qasm",
    "load_estimator",
    "load_model",
    "orthogonal",
    "parity",
    "projector",
    "save_model",
    "to_qasm",
    "unitary",
    "weight",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'tn_qnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_MODULES})
