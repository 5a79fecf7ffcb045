"""Trains the toy model as a process of its own, to be killed: train_toy.py FOLDER [PAUSE]."""

import sys
import time
from pathlib import Path

from cosine_model import BLOCKS, CosineModel, samples

from tn_qnn.train import SPSA, Blocking, EarlyStopping, ExactGradient, Trainer, TrustRegion
from tn_qnn.train.updates import UPDATES

STEPS = 150
#: What may be trained by, by the words of a command line.
RULES = {name: name for name in UPDATES} | {
    "trust region": TrustRegion("momentum", 0.03, "l2"),
    "blocking": Blocking(TrustRegion("amsgrad", 0.2)),
    "exact": "momentum",
}
#: A warm-up, then half a wave; the run is killed in both.
GAINS = {"schedule": "cosine", "warmup": 40, "final": 0.1, "first_step": 0.3}


class SlowModel(CosineModel):
    """Rests in every call, so that a signal finds it at any place of the loop."""

    pause = 0.0

    def __call__(self, weights, X):
        time.sleep(self.pause)
        return super().__call__(weights, X)


def train(folder, update, pause=0.0, resume=False):
    """Train with everything that a checkpoint must carry."""
    model = SlowModel(BLOCKS)
    model.pause = pause
    X, y = samples(50, classes=4)
    gains = GAINS if update == "blocking" else {}
    estimator = ExactGradient(0.05) if update == "exact" else SPSA(directions=2, **gains)
    trainer = Trainer(model, "cross_entropy", estimator, RULES[update], seed=5)
    return trainer.fit(
        X[10:],
        y[10:],
        steps=STEPS,
        batch_size=16,
        weights="uniform",
        validation=(X[:10], y[:10]),
        validate_every=9,
        class_weight="balanced",
        callbacks=[EarlyStopping(patience=100, restore_best=False)],  # the last weights count
        checkpoint=folder,
        checkpoint_every=4,
        resume=resume,
        progress=False,
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    train(folder, sys.argv[2], float(sys.argv[3]), (folder / "checkpoint.json").exists())
