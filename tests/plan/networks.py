"""Index structures of real circuits, built without the circuit and network stages."""

import random
from collections.abc import Iterable, Sequence

from tn_qnn.plan.topology import Topology

Gate = tuple[str, tuple[int, ...]]


def line_gates(num_qubits: int, depth: int) -> list[Gate]:
    """``depth`` times RY on every qubit, then CZ on the even and on the odd bonds in turn."""
    gates: list[Gate] = []
    for layer in range(depth):
        gates += [("ry", (q,)) for q in range(num_qubits)]
        gates += [("cz", (q, q + 1)) for q in range(layer % 2, num_qubits - 1, 2)]
    return gates


def grid_gates(side: int, layers: int) -> list[Gate]:
    """``layers`` times RY on every qubit of a square, then CZ along one of four edge colours."""
    across = [
        [(r * side + c, r * side + c + 1) for r in range(side) for c in range(k, side - 1, 2)]
        for k in (0, 1)
    ]
    down = [
        [(r * side + c, r * side + c + side) for c in range(side) for r in range(k, side - 1, 2)]
        for k in (0, 1)
    ]
    colours = [across[0], down[0], across[1], down[1]]
    gates: list[Gate] = []
    for layer in range(layers):
        gates += [("ry", (q,)) for q in range(side * side)]
        gates += [("cz", bond) for bond in colours[layer % 4]]
    return gates


def light_cone(gates: Sequence[Gate], readout: int) -> list[Gate]:
    """Gates that do not cancel against their inverse around a Z on ``readout``."""
    rotated: set[int] = set()  # qubits on which something not diagonal was kept
    support = {readout}
    kept: list[Gate] = []
    for name, qubits in reversed(gates):
        if name == "ry" and qubits[0] in support:
            rotated.update(qubits)
        elif name == "cz" and rotated.intersection(qubits):
            support.update(qubits)
        else:
            continue
        kept.append((name, qubits))
    return kept[::-1]


def expectation_topology(
    gates: Iterable[Gate], num_qubits: int, readout: int, samples: int = 256, sets: int = 2
) -> Topology:
    """Ket and bra of the cone of Z on ``readout``; index 0 labels sets, 1 labels samples."""
    cone = light_cone(list(gates), readout)
    active = sorted({q for _, qubits in cone for q in qubits})
    sizes = [sets, samples]

    def wire() -> int:
        sizes.append(2)
        return len(sizes) - 1

    last = {q: sum(name == "ry" and q in qubits for name, qubits in cone) for q in active}
    joined = {q: wire() for q in active}
    inputs: list[tuple[int, ...]] = [(joined[readout],)]
    for _ in ("ket", "bra"):
        done = dict.fromkeys(active, 0)
        at = {q: joined[q] if last[q] == 0 else wire() for q in active}
        inputs += [(1, at[q]) for q in active]  # encoding rotation of |0>
        for name, qubits in cone:
            if name == "ry":
                (q,) = qubits
                done[q] += 1
                new = joined[q] if done[q] == last[q] else wire()
                inputs.append((0, at[q], new))
                at[q] = new
            else:
                inputs.append((at[qubits[0]], at[qubits[1]]))
    return Topology(tuple(inputs), (0, 1), tuple(sizes), frozenset({0, 1}))


def line(depth: int, num_qubits: int = 64, samples: int = 256, sets: int = 2) -> Topology:
    """One readout in the middle of a brickwork line."""
    gates = line_gates(num_qubits, depth)
    return expectation_topology(gates, num_qubits, num_qubits // 2, samples, sets)


def grid(layers: int, side: int = 8, samples: int = 256, sets: int = 2) -> Topology:
    """One readout in the middle of a square grid."""
    readout = (side // 2) * side + side // 2
    return expectation_topology(grid_gates(side, layers), side * side, readout, samples, sets)


def random_topology(seed: int, num_tensors: int = 6, num_indices: int = 7) -> Topology:
    """A small random hyper-graph, possibly disconnected, with traces and private indices."""
    rng = random.Random(seed)
    sizes = tuple(rng.choice((1, 2, 2, 2, 3)) for _ in range(num_indices))
    inputs = tuple(
        tuple(rng.randrange(num_indices) for _ in range(rng.randrange(4)))
        for _ in range(num_tensors)
    )
    present = sorted({i for term in inputs for i in term})
    output = tuple(rng.sample(present, rng.randrange(min(3, len(present)) + 1)))
    return Topology(inputs, output, sizes, frozenset(output[: rng.randrange(len(output) + 1)]))
