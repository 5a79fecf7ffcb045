"""Circuits of the cases, gate by gate: frozen, but for the demo's tree and Eagle's graph."""

from __future__ import annotations

import math

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.slots import Expr, feature, weight

Edge = tuple[int, int]


def encoded(n: int, scale: float = 1.0) -> Circuit:
    """RY(scale * feature q) on every qubit q."""
    circuit = Circuit(n)
    for q in range(n):
        circuit.ry(feature(q) * scale, q)
    return circuit


def line_bonds(n: int, layer: int) -> list[Edge]:
    """Even bonds of a line in even layers, odd ones in odd layers."""
    return [(q, q + 1) for q in range(layer % 2, n - 1, 2)]


def line(depth: int, n: int = 64) -> Circuit:
    """Encoding, then ``depth`` times RY on every qubit and CZ on even and odd bonds in turn."""
    circuit = encoded(n)
    for layer in range(depth):
        for q in range(n):
            circuit.ry(weight(f"w{layer}_{q}"), q)
        for a, b in line_bonds(n, layer):
            circuit.cz(a, b)
    return circuit


def grid_colours(rows: int, columns: int) -> list[list[Edge]]:
    """The four edge colours of a grid: even and odd bonds of the rows, then of the columns."""
    colours: list[list[Edge]] = [[], [], [], []]
    for r in range(rows):
        for k in range(columns):
            q = r * columns + k
            if k + 1 < columns:
                colours[k % 2].append((q, q + 1))
            if r + 1 < rows:
                colours[2 + r % 2].append((q, q + columns))
    return colours


def grid(layers: int, rows: int = 8, columns: int = 8) -> Circuit:
    """Encoding, then ``layers`` times RY on every qubit and CZ along one edge colour in turn."""
    colours = grid_colours(rows, columns)
    circuit = encoded(rows * columns)
    for layer in range(layers):
        for q in range(rows * columns):
            circuit.ry(weight(f"w{layer}_{q}"), q)
        for a, b in colours[layer % 4]:
            circuit.cz(a, b)
    return circuit


def _u3_weights(layer: int, q: int) -> list[Expr]:
    return [weight(f"w{layer}_{q}_{k}") for k in range(3)]


def u3_brickwork(depth: int, n: int = 64) -> Circuit:
    """Encoding, then ``depth`` times U3 on every qubit and CNOT on even and odd bonds in turn."""
    circuit = encoded(n)
    for layer in range(depth):
        for q in range(n):
            circuit.u3(*_u3_weights(layer, q), q)
        for a, b in line_bonds(n, layer):
            circuit.cx(a, b)
    return circuit


def entangling(layers: int, n: int = 64) -> Circuit:
    """Encoding, then strongly entangling layers: U3 on every qubit, CNOT from i to i + layer + 1.

    The CNOTs of a layer act one after the other around the ring, so the cone spans all qubits.
    """
    circuit = encoded(n)
    for layer in range(layers):
        for q in range(n):
            circuit.u3(*_u3_weights(layer, q), q)
        for q in range(n):
            circuit.cx(q, (q + layer + 1) % n)
    return circuit


def demo_tree(prefix: str, n: int = 64) -> Circuit:
    """The demo's circuit of one class: angle encoding, then a tree of real two-qubit blocks."""
    from tn_qnn.circuit.ansatz import tree

    return encoded(n, math.pi).compose(tree(n, prefix=prefix))


def kicked_ising(steps: int = 5) -> Circuit:
    """RX(0.7) on all of Eagle's 127 qubits, then RZZ(-pi/2) on all 144 edges, some steps."""
    from tn_qnn.circuit.graphs import heavy_hex_eagle

    graph = heavy_hex_eagle()
    circuit = Circuit(graph.num_nodes)
    for _ in range(steps):
        for q in range(graph.num_nodes):
            circuit.rx(0.7, q)
        for a, b in graph.edges:
            circuit.rzz(-math.pi / 2, a, b)
    return circuit
