"""Who is measured on a GPU: modules of :mod:`bench.peers` whose calls stay on the device.

``build(problem, sets, samples)`` gives an object with ``put`` (an array of the host to the device),
``run`` (weights and data on the device to outputs on the device, which are ready when it returns)
and ``get`` (outputs to the host, shape (P, S, K)).
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from bench.goals import OURS
from bench.peers import Peer


class DeviceCall(Protocol):
    """What ``build`` of a peer on a GPU gives."""

    def put(self, array: NDArray[Any]) -> Any:
        """An array of the host as one of the device."""

    def run(self, weights: Any, X: Any) -> Any:
        """Outputs for weights (P, W) and data (S, F), all on the device, and finished."""

    def get(self, outputs: Any) -> NDArray[Any]:
        """Outputs on the host, shape (P, S, K)."""


_ALL = (
    Peer(
        OURS,
        "QNN(..., backend='cuda'); first call as it is, then one captured graph that is replayed",
        "gpu_ours",
        ("cupy", "cotengrust"),
        ("tn-qnn", "numpy", "cupy-cuda13x", "cupy-cuda12x", "cotengrust"),
    ),
    Peer(
        "tensorcircuit-ng-gpu",
        "jax.jit(vmap(vmap(expectation_ps(enable_lightcone=True)))) on the GPU, IEEE float32",
        "gpu_tensorcircuit",
        ("jax", "tensorcircuit"),
        ("tensorcircuit-ng", "jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin"),
    ),
    Peer(
        "opt-einsum-cupy",
        "our network along our path: opt_einsum.contract_expression on CuPy",
        "gpu_opt_einsum",
        ("cupy", "opt_einsum", "cotengrust"),
        ("opt_einsum", "cupy-cuda13x", "cupy-cuda12x"),
    ),
    Peer(
        "cutensornet",
        "our network along our path: cuquantum.tensornet.Network, autotuned",
        "gpu_cutensornet",
        ("cupy", "cuquantum", "cotengrust"),
        ("cuquantum-python-cu13", "cuquantum-python-cu12", "cutensornet-cu13", "cutensornet-cu12"),
    ),
    Peer(
        "torch-graphs",
        "our network along our path: opt_einsum on PyTorch, one captured CUDA graph, IEEE float32",
        "gpu_torch",
        ("torch", "opt_einsum", "cotengrust"),
        ("torch", "opt_einsum"),
    ),
)

GPU_PEERS = {peer.name: peer for peer in _ALL}
