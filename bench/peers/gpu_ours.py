"""tn_qnn on the GPU: a model whose call is captured once and replayed, or a training step."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cases import Problem
from bench.gpu.profile import host_seconds, launches_of, stages_of
from bench.peers.ours import SEED, C, Ours
from tn_qnn.circuit.observables import Z
from tn_qnn.models.qnn import QNN
from tn_qnn.train.losses import get_loss, output_slopes

STEPS = 100  # of training in a run of a step's case


class OursCall:
    """The first run is a plain call; the next ones replay a graph on buffers of its own."""

    steps = 1  # that a run stands for

    def __init__(self, model: QNN) -> None:
        self.model, self.runtime = model, model.device
        if self.runtime is None:
            raise ValueError("backend 'cuda' on one device is needed")
        self.inputs: tuple[Any, Any] | None = None
        self.graph: Any = None

    def put(self, array: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return self.runtime.to_device(array, np.float64)

    def run(self, weights: Any, X: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        with self.runtime.use():
            if self.inputs is None:
                self.inputs = weights.copy(), X.copy()
                outputs = self.model(*self.inputs)
            else:
                if self.graph is None:
                    self.graph = self.runtime.capture(lambda: self.model(*self.inputs))
                for ours, given in zip(self.inputs, (weights, X), strict=True):
                    ours[...] = given
                self.graph.launch()
                outputs = self.graph.values
            self.runtime.synchronize()
        return outputs

    def get(self, outputs: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return self.runtime.to_host(outputs)

    def facts(self) -> dict[str, Any]:
        """The plan's figures, for the result file."""
        return Ours(self.model).facts()

    def profile(self) -> dict[str, Any]:
        """Time of every launch beside its prediction, and of the host for a replay."""
        lines = self._launches()
        return {
            "host": host_seconds(self.graph, self.runtime),
            "launches": lines,
            "stages": stages_of(lines),
        }

    def _launches(self) -> list[dict[str, Any]]:
        executors = self.model._prepared(False).executors
        return launches_of(executors, self.model.dtype, self.runtime)


class StepCall(OursCall):
    """A whole SPSA step as the trainer takes it on the device; a run is many of them."""

    steps = STEPS

    def __init__(self, model: QNN) -> None:
        super().__init__(model)
        self.stepper: Any = None
        self.state: Any = None
        self.outputs: Any = None

    def run(self, weights: Any, X: Any) -> Any:
        """Train; gives the outputs of the first pair, which are what the peers evaluate."""
        steps = STEPS
        if self.stepper is None:
            self.outputs = super().run(weights, X)
            self.stepper = self._begin(self.get(weights).mean(axis=0), self.get(X))
            steps = 1
        self.state, _ = self.stepper.advance(self.state, steps)
        return self.outputs

    def _begin(self, weights: Any, X: Any) -> Any:
        from tn_qnn.train.execution import make_stepper
        from tn_qnn.train.inputs import Data
        from tn_qnn.train.recipe import Recipe
        from tn_qnn.train.spsa import SPSA
        from tn_qnn.train.state import State
        from tn_qnn.train.updates import get_update

        labels = np.arange(len(X)) % self.model.num_outputs
        update, estimator = get_update("adam"), SPSA(c=C)
        data = Data(X, labels, None)
        loss = get_loss("cross_entropy")
        recipe = Recipe(self.model, loss, estimator, update, SEED, data, len(X))
        gains = estimator.gains(1000, lambda: 1.0)
        self.state = State(0, weights, update.init(weights), gains)
        return make_stepper(recipe)

    def profile(self) -> dict[str, Any]:
        """Launches of the model; the host's time is that of a call of the stepper, per step."""
        lines = self._launches()
        return {"launches": lines, "stages": stages_of(lines), "execution": self.stepper.execution}


class GradientCall(OursCall):
    """The exact gradient of a loss, from arrays of the host to arrays of the host.

    The loss's slopes are worked out on the host, between the pass forward and the sweep back: a
    step of the trainer with ``ExactGradient`` is that and an update of few microseconds.
    """

    def put(self, array: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`; the trainer has them on the host."""
        return array

    def run(self, weights: Any, X: Any) -> Any:
        """Gives the outputs, on which the slopes depend."""
        loss, labels = get_loss("cross_entropy"), np.arange(len(X)) % self.model.num_outputs
        outputs, _ = self.model.pull_back(
            weights[0], X, lambda out, rows: output_slopes(loss, out, labels[rows]) / len(X)
        )
        return outputs[None]

    def get(self, outputs: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return outputs

    def profile(self) -> dict[str, Any]:
        """Launches of both passes."""
        executors = self.model._gradients.executors
        lines = launches_of(executors, self.model.dtype, self.runtime)
        return {"launches": lines, "stages": stages_of(lines)}


def build(problem: Problem, sets: int, samples: int, task: str = "outputs") -> OursCall:
    """A model planned for the batch."""
    model = QNN(
        problem.circuits,
        [Z(q) for q in problem.qubits],
        backend="cuda",
        dtype=problem.dtype,
        sets=sets,
        samples=samples,
    )
    return CALLS[task](model)


CALLS = {"outputs": OursCall, "spsa": StepCall, "gradient": GradientCall}
