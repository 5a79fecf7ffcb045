"""Training: SPSA gradient estimates, update rules, losses, checkpoints and the trainer."""

from tn_qnn.rng import permutation, rademacher
from tn_qnn.train.callbacks import EarlyStopping, Report
from tn_qnn.train.gains import Gains
from tn_qnn.train.history import History, Row
from tn_qnn.train.initializers import initial_weights
from tn_qnn.train.losses import Loss, cross_entropy, get_loss, hinge, mse, zero_one
from tn_qnn.train.protocol import Estimate, Estimator, Trainable
from tn_qnn.train.spsa import SPSA
from tn_qnn.train.state import Best
from tn_qnn.train.trainer import Trainer, TrainResult
from tn_qnn.train.updates import SGD, Adam, Momentum, get_update

__all__ = [
    "SGD",
    "SPSA",
    "Adam",
    "Best",
    "EarlyStopping",
    "Estimate",
    "Estimator",
    "Gains",
    "History",
    "Loss",
    "Momentum",
    "Report",
    "Row",
    "TrainResult",
    "Trainable",
    "Trainer",
    "cross_entropy",
    "get_loss",
    "get_update",
    "hinge",
    "initial_weights",
    "mse",
    "permutation",
    "rademacher",
    "zero_one",
]
