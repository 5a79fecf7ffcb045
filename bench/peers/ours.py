"""tn_qnn itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import Problem
from tn_qnn.circuit.observables import Z
from tn_qnn.models.qnn import QNN
from tn_qnn.rng import rademacher
from tn_qnn.train.losses import cross_entropy
from tn_qnn.train.spsa import SPSA, perturbed_weights

Array = NDArray[Any]


@dataclass
class Ours:
    """A model that is called."""

    model: QNN

    def __call__(self, weights: Array, X: Array) -> Array:
        """See :mod:`bench.peers`."""
        return self.model(weights, X)

    def facts(self) -> dict[str, Any]:
        """The plan's figures, for the result file."""
        programs = [job.program for job in self.model.jobs]
        sizes = {"p": self.model.sets, "s": self.model.samples}
        return {
            "topologies": len(programs),
            "cones": sum(job.cones for job in self.model.jobs),
            "tensors": sum(len(p.network.tensors) for p in programs),
            "real": all(p.network.real for p in programs),
            "width": max(p.plan.cost.width for p in programs),
            "slices": max(p.slices for p in programs),
            "plan_seconds": sum(p.plan.seconds for p in programs),
            "multiply_adds": sum(
                job.program.multiply_adds({**sizes, "c": job.cones}) for job in self.model.jobs
            ),
        }


@dataclass
class Recorded:
    """A model as SPSA sees it; keeps what it last returned."""

    model: QNN
    outputs: Array = field(default_factory=lambda: np.zeros(0))

    def __call__(self, weights: Array, X: Array) -> Array:
        self.outputs = self.model(weights, X)
        return self.outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


@dataclass
class Step(Ours):
    """A whole SPSA estimate: directions, ± pair, minibatch, loss, light-cone credit.

    The batch of weights that it is called with must be the ± pair of :func:`step_weights`.
    """

    def __call__(self, weights: Array, X: Array) -> Array:
        """One gradient estimate; returns the outputs that it used."""
        model = Recorded(self.model)
        labels = np.arange(len(X)) % model.num_outputs
        spsa = SPSA(c=C)
        spsa.estimate(model, cross_entropy(), weights.mean(axis=0), X, labels, None, SEED, 0)
        return model.outputs


SEED, C = 0, 0.1


def step_weights(weights: Array) -> Array:
    """The ± pair that :class:`Step` evaluates around weights (W,)."""
    signs = rademacher(SEED, 0, np.arange(1)[:, None], np.arange(1), len(weights), np)
    return perturbed_weights(weights, signs, C)


def build(problem: Problem, sets: int, samples: int, task: str = "outputs") -> Ours:
    """A model planned for the batch."""
    model = QNN(
        problem.circuits,
        [Z(q) for q in problem.qubits],
        backend="cpu",
        dtype=problem.dtype,
        sets=sets,
        samples=samples,
    )
    return Step(model) if task == "spsa" else Ours(model)
