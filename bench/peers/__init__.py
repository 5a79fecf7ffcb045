"""The peers: one module each, with ``build(problem) -> call`` and ``call(weights, X) -> outputs``.

``weights`` is (P, W), ``X`` is (S, F), outputs are (P, S, K) as a NumPy array. All that a user
pays before the first answer (translation, planning, compiling) happens in ``build`` or in the
first call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from bench.goals import OURS

Call = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Peer:
    """Who is measured, and how.

    Attributes
    ----------
    name
        For ``--peers`` and in results.
    how
        What is run, for the documents.
    module
        Module of this package.
    needs
        What must be importable.
    packages
        Distributions whose versions are recorded.
    batch
        Evaluations a call; None for the whole batch at once. From a few evaluations the whole
        batch is extrapolated.
    """

    name: str
    how: str
    module: str
    needs: tuple[str, ...]
    packages: tuple[str, ...]
    batch: int | None = None

    def missing(self) -> str | None:
        """Say what keeps it from running here."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f"{', '.join(absent)} not installed" if absent else None

    def builder(self) -> Any:
        """Import it."""
        return import_module(f"bench.peers.{self.module}").build

    def versions(self) -> dict[str, str]:
        """Versions of its packages that are installed."""
        found = {}
        for package in self.packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return found


_ALL = (
    Peer(
        OURS,
        "QNN(circuit, observables), search='fast', backend 'cpu'",
        "ours",
        ("numba", "cotengrust"),
        ("tn-qnn", "numpy", "numba", "llvmlite", "cotengrust"),
    ),
    Peer(
        "tensorcircuit-ng",
        "jax.jit(vmap(vmap(expectation_ps(enable_lightcone=True)))), whole batch",
        "tensorcircuit_jax",
        ("jax", "tensorcircuit"),
        ("tensorcircuit-ng", "jax", "jaxlib", "opt_einsum"),
    ),
    Peer(
        "cotengra-numpy",
        "our network, s and p as hyper-indices: array_contract_expression on NumPy, whole batch",
        "cotengra_numpy",
        ("cotengra",),
        ("cotengra", "autoray", "numpy"),
    ),
    Peer(
        "cotengra-our-path",
        "the same along our path: the difference to tn_qnn is the program alone",
        "cotengra_our_path",
        ("cotengra", "cotengrust"),
        ("cotengra", "autoray", "numpy"),
    ),
    Peer(
        "quimb",
        "Circuit.local_expectation, ReusableHyperOptimizer, one evaluation at a time",
        "quimb_circuit",
        ("quimb", "cotengra"),
        ("quimb", "cotengra", "kahypar", "optuna", "cmaes"),  # the last three where they are found
        batch=1,
    ),
    Peer(
        "pennylane-tn",
        "QNode on default.tensor, method='tn', one evaluation at a time",
        "pennylane_tensor",
        ("pennylane", "quimb"),
        ("pennylane", "quimb"),
        batch=1,
    ),
    Peer(
        "pennylane-lightning",
        "QNode on lightning.qubit (statevector), one evaluation at a time",
        "pennylane_lightning",
        ("pennylane", "pennylane_lightning"),
        ("pennylane", "pennylane-lightning"),
        batch=1,
    ),
    Peer(
        "qiskit-aer",
        "EstimatorV2, matrix_product_state, 16 parameter sets a run",
        "aer_mps",
        ("qiskit", "qiskit_aer"),
        ("qiskit", "qiskit-aer"),
        batch=16,
    ),
)

PEERS = {peer.name: peer for peer in _ALL}
