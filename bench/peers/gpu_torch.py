"""PyTorch: our network along our path by opt_einsum, captured once as a CUDA graph."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bench.cases import Problem
from bench.peers.gpu_network import Library, Networks, by_opt_einsum


class TorchCall:
    """The first run is eager; from the second on, where there is CUDA, a graph is replayed."""

    def __init__(self, problem: Problem, networks: Networks, torch: Any, device: str) -> None:
        self.dtype, self.networks, self.torch, self.device = problem.dtype, networks, torch, device
        self.inputs: tuple[Any, Any] | None = None
        self.graph: Any = None
        self.outputs: Any = None

    def put(self, array: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return self.torch.as_tensor(array.astype(self.dtype), device=self.device)

    def run(self, weights: Any, X: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        if self.device == "cpu":
            return self.networks(weights, X)
        if self.inputs is None:
            self.inputs = weights.clone(), X.clone()
            outputs = self.networks(*self.inputs)
        else:
            if self.graph is None:
                self._capture()
            for ours, given in zip(self.inputs, (weights, X), strict=True):
                ours.copy_(given)
            self.graph.replay()
            outputs = self.outputs
        self.torch.cuda.synchronize()
        return outputs

    def _capture(self) -> None:
        """As PyTorch's documentation has it: warm up on a side stream, then capture."""
        assert self.inputs is not None
        side = self.torch.cuda.Stream()
        side.wait_stream(self.torch.cuda.current_stream())
        with self.torch.cuda.stream(side):
            self.networks(*self.inputs)
        self.torch.cuda.current_stream().wait_stream(side)
        self.graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(self.graph):
            self.outputs = self.networks(*self.inputs)

    def get(self, outputs: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return outputs.movedim(0, -1).cpu().numpy()


def torch_library(torch: Any, device: str) -> Library:
    """PyTorch as a library of arrays."""
    return Library(
        torch,
        lambda array: torch.as_tensor(array, device=device),
        lambda array, kind: array.to(getattr(torch, kind)),
    )


def build(problem: Problem, sets: int, samples: int) -> TorchCall:
    """One contraction expression a topology."""
    torch = import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_grad_enabled(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    library = torch_library(torch, device)
    networks = Networks(problem, sets, samples, library, by_opt_einsum)
    return TorchCall(problem, networks, torch, device)
