"""The command line called in this process, and circuits to give it."""

import io
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tn_qnn import Circuit
from tn_qnn.circuit.graphs import heavy_hex_eagle
from tn_qnn.circuit.qasm import to_qasm
from tn_qnn.cli.main import main

from ..emulation.cupy_standin import install, make_cupy


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, monkeypatch) -> Callable[..., Ended]:
    """Call ``tn-qnn`` with words; ``stdin`` is bytes."""

    def call(*words: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(word) for word in words])
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def fails(cli) -> Callable[..., str]:
    """Call a command that must fail: one line on stderr, after ``remarks`` lines; returns it."""

    def call(*words: object, code: int = 1, stdin: bytes = b"", remarks: int = 0) -> str:
        ended = cli(*words, stdin=stdin)
        assert ended.code == code, ended
        assert ended.out == ""
        assert ended.err.endswith("\n") and ended.err.count("\n") == remarks + 1, ended.err
        line = ended.err.splitlines()[-1]
        assert line.startswith("tn-qnn")
        return line

    return call


@pytest.fixture
def gpus(monkeypatch) -> Callable[[int], ModuleType]:
    """Let this be a machine with so many emulated GPUs, none among them."""

    def make(devices: int) -> ModuleType:
        cupy = make_cupy(devices=devices)
        install(cupy, monkeypatch.setitem)
        return cupy

    return make


@pytest.fixture
def bell(tmp_path) -> Path:
    """A file with two entangled qubits and inputs: ry(a + features[1]) on the first."""
    path = tmp_path / "bell.qasm"
    path.write_text(
        'OPENQASM 3.0; include "stdgates.inc"; input float a; input array[float, 2] features;'
        "qubit[2] q; ry(a + features[1]) q[0]; cx q[0], q[1];"
    )
    return path


@pytest.fixture
def plus(tmp_path) -> Path:
    """A file with three qubits: |+>, |0>, |1>."""
    path = tmp_path / "plus.qasm"
    path.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; h q[0]; x q[2];')
    return path


def kicked_ising(steps: int = 5) -> Circuit:
    """The kicked Ising model on the Eagle lattice: RX(0.7) on all, then RZZ(-pi/2) on all edges."""
    lattice = heavy_hex_eagle()
    circuit = Circuit(lattice.num_nodes)
    for _ in range(steps):
        for qubit in range(lattice.num_nodes):
            circuit.rx(0.7, qubit)
        for left, right in lattice.edges:
            circuit.rzz(-math.pi / 2, left, right)
    return circuit


@pytest.fixture(scope="session")
def kicked(tmp_path_factory) -> Path:
    """A file with five steps of the kicked Ising model on 127 qubits."""
    path = tmp_path_factory.mktemp("kicked") / "kicked.qasm"
    path.write_text(to_qasm(kicked_ising(), version=2))
    return path
