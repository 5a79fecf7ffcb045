"""A very small training run on the GPU: what the sanitizers watch, every kernel at least once.

Every array is an allocation of its own, so that an access beyond its end is seen: CuPy's pool
would put others behind it.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

STEPS, SAMPLES, BATCH = 4, 24, 10


def main(pooled: bool = False) -> float:
    """Train a model with real and one with complex tensors, sweep back once; the last loss."""
    import cupy

    from bench import circuits
    from tn_qnn.circuit.observables import Z
    from tn_qnn.models.qnn import QNN
    from tn_qnn.train import SPSA, Trainer

    if not pooled:
        cupy.cuda.set_allocator(None)
    rng = np.random.default_rng(0)
    loss = float("nan")
    for circuit in (circuits.line(3, 6), circuits.u3_brickwork(2, 6)):
        model = QNN(circuit, [Z(2), Z(3)], backend="cuda", search="greedy", samples=BATCH, sets=4)
        X = rng.normal(size=(SAMPLES, model.num_features))
        labels = rng.integers(2, size=SAMPLES)
        trainer = Trainer(model, "cross_entropy", SPSA(directions=2), seed=1)
        result = trainer.fit(X, labels, steps=STEPS, batch_size=BATCH, progress=False)
        loss, _ = trainer.evaluate(result.weights, X, labels)
        _, gradient = model.value_and_grad(result.weights, X, labels)
        if not np.isfinite(gradient).all():
            raise ArithmeticError(f"the gradient is {gradient}")
        if not np.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
    return loss


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pooled", action="store_true", help="let CuPy's pool allocate")
    print(f"loss {main(options.parse_args().pooled):.4f}")
    sys.exit(0)
