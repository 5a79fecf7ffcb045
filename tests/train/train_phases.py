"""Trains the toy model in phases, to be killed: train_phases.py FOLDER SCHEDULE PAUSE."""

import sys
import time
from pathlib import Path

import numpy as np
from cosine_model import BLOCKS, CosineModel, samples

from tn_qnn.train import SPSA, Trainer
from tn_qnn.train.schedules import ExpectedGain, Growing, LayerByLayer, RandomBlocks, Sweeps

STEPS = 40
THIRDS = [np.arange(12) % 3 == k for k in range(3)]
SCHEDULES = {
    "layers": LayerByLayer(7, always="w.2.3"),
    "growing": Growing(9, reverse=True),
    "random": RandomBlocks(5, width=2),
    "sweeps": Sweeps(6, blocks=THIRDS),
    "gain": ExpectedGain(5, blocks=THIRDS, estimates=2),
}


class SlowModel(CosineModel):
    """Rests in every call, and is interrupted in one of them."""

    pause, interrupt = 0.0, -1

    def __init__(self):
        super().__init__(BLOCKS)
        self.weight_names = tuple(f"w.{i // 4}.{i % 4}" for i in range(12))

    def __call__(self, weights, X):
        time.sleep(self.pause)
        if len(self.calls) == self.interrupt:
            self.calls.append("interrupted")
            raise KeyboardInterrupt
        return super().__call__(weights, X)


def train(folder, name, pause=0.0, resume=False, interrupt=-1):
    """Train with everything that a checkpoint must carry."""
    model = SlowModel()
    model.pause = pause
    # the calls before the first step: those of a first choice by gain
    model.interrupt = interrupt + 2 * (name == "gain") if interrupt > 0 else -1
    X, y = samples(50, classes=4)
    trainer = Trainer(model, "cross_entropy", SPSA(directions=2), "adam", seed=5)
    return trainer.fit(
        X[10:],
        y[10:],
        steps=STEPS,
        batch_size=16,
        weights="uniform",
        validation=(X[:10], y[:10]),
        validate_every=9,
        checkpoint=folder,
        checkpoint_every=4 if interrupt < 0 else 1000,
        resume=resume,
        progress=False,
        trainable=SCHEDULES[name],
    )


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
