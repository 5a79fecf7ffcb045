"""Training: SPSA gradient estimates, update rules, losses, checkpoints and the trainer."""

from tn_qnn.rng import permutation, rademacher
from tn_qnn.train.adaptive import Adam, AMSGrad, Resilient
from tn_qnn.train.augment import Shifts
from tn_qnn.train.callbacks import EarlyStopping, Report
from tn_qnn.train.exact import ExactGradient
from tn_qnn.train.gains import Gains
from tn_qnn.train.guards import Blocking, TrustRegion
from tn_qnn.train.history import History, Row
from tn_qnn.train.initializers import initial_weights
from tn_qnn.train.local_spsa import LocalSPSA
from tn_qnn.train.losses import Loss, cross_entropy, get_loss, hinge, mse, zero_one
from tn_qnn.train.parameter_shift import ParameterShift
from tn_qnn.train.parts import gates, layers, qubits
from tn_qnn.train.polar import PolarSweep
from tn_qnn.train.protocol import Estimate, Estimator, Mover, Trainable
from tn_qnn.train.regularisation import L2
from tn_qnn.train.retraction import Retraction
from tn_qnn.train.rotosolve import Rotosolve
from tn_qnn.train.schedules import ExpectedGain, Growing, LayerByLayer, RandomBlocks, Sweeps
from tn_qnn.train.spsa import SPSA
from tn_qnn.train.state import Best
from tn_qnn.train.trainer import Trainer, TrainResult
from tn_qnn.train.updates import SGD, Momentum, get_update

__all__ = [
    "L2",
    "SGD",
    "SPSA",
    "AMSGrad",
    "Adam",
    "Best",
    "Blocking",
    "EarlyStopping",
    "Estimate",
    "Estimator",
    "ExactGradient",
    "ExpectedGain",
    "Gains",
    "Growing",
    "History",
    "LayerByLayer",
    "LocalSPSA",
    "Loss",
    "Momentum",
    "Mover",
    "ParameterShift",
    "PolarSweep",
    "RandomBlocks",
    "Report",
    "Resilient",
    "Retraction",
    "Rotosolve",
    "Row",
    "Shifts",
    "Sweeps",
    "TrainResult",
    "Trainable",
    "Trainer",
    "TrustRegion",
    "cross_entropy",
    "gates",
    "get_loss",
    "get_update",
    "hinge",
    "initial_weights",
    "layers",
    "mse",
    "permutation",
    "qubits",
    "rademacher",
    "zero_one",
]
