"""Graphs: edges against hand-written lists, colourings against their definition."""

from collections import Counter
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.circuit.graphs import (
    Graph,
    as_graph,
    complete,
    from_edges,
    grid,
    heavy_hex,
    heavy_hex_eagle,
    line,
    ring,
)
from tn_qnn.errors import CircuitError

# IBM's table of ibm_kyiv: long rows as ranges, and (upper qubit, connector, lower qubit).
EAGLE_ROWS = [(0, 14), (18, 33), (37, 52), (56, 71), (75, 90), (94, 109), (113, 127)]
EAGLE_CONNECTORS = [
    (0, 14, 18), (4, 15, 22), (8, 16, 26), (12, 17, 30), (20, 33, 39), (24, 34, 43),
    (28, 35, 47), (32, 36, 51), (37, 52, 56), (41, 53, 60), (45, 54, 64), (49, 55, 68),
    (58, 71, 77), (62, 72, 81), (66, 73, 85), (70, 74, 89), (75, 90, 94), (79, 91, 98),
    (83, 92, 102), (87, 93, 106), (96, 109, 114), (100, 110, 118), (104, 111, 122),
    (108, 112, 126),
]  # fmt: skip


def undirected(graph: Graph) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in graph.edges}


def degrees(graph: Graph) -> Counter[int]:
    return Counter(node for edge in graph.edges for node in edge)


def is_connected(graph: Graph) -> bool:
    reached, fresh = {0}, {0}
    while fresh:
        touching = {node for edge in graph.edges if set(edge) & fresh for node in edge}
        fresh = touching - reached
        reached |= fresh
    return len(reached) == graph.num_nodes


def assert_proper_colouring(graph: Graph) -> None:
    for layer in graph.layers:
        assert layer, "an empty layer"
        assert max(Counter(node for edge in layer for node in edge).values()) == 1
    assert len(undirected(graph)) == len(graph.edges)


@pytest.mark.parametrize(
    ("graph", "edges", "colours"),
    [
        (line(1), set(), 0),
        (line(2), {(0, 1)}, 1),
        (line(6), {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)}, 2),
        (ring(3), {(0, 1), (1, 2), (0, 2)}, 3),
        (ring(4), {(0, 1), (1, 2), (2, 3), (0, 3)}, 2),
        (grid(1, 4), {(0, 1), (1, 2), (2, 3)}, 2),
        (grid(4, 1), {(0, 1), (1, 2), (2, 3)}, 2),
        (
            grid(3, 3),
            {(r * 3 + c, r * 3 + c + 1) for r in range(3) for c in range(2)}
            | {(r * 3 + c, r * 3 + c + 3) for r in range(2) for c in range(3)},
            4,
        ),
        (complete(5), set(combinations(range(5), 2)), 5),
        (complete(6), set(combinations(range(6), 2)), 5),
    ],
)
def test_edges_and_number_of_colours(
    graph: Graph, edges: set[tuple[int, int]], colours: int
) -> None:
    assert_proper_colouring(graph)
    assert undirected(graph) == {frozenset(edge) for edge in edges}
    assert len(graph.layers) == colours


@pytest.mark.parametrize("n", range(3, 12))
def test_chains_and_complete_graphs_of_any_size(n: int) -> None:
    for graph, count in ((line(n), n - 1), (ring(n), n), (complete(n), n * (n - 1) // 2)):
        assert_proper_colouring(graph)
        assert len(graph.edges) == count
        assert is_connected(graph)


def test_grid_of_the_benchmark_has_four_colours() -> None:
    graph = grid(8, 8)
    assert_proper_colouring(graph)
    assert [len(layer) for layer in graph.layers] == [32, 24, 32, 24]
    assert is_connected(graph)


def test_eagle_is_ibms_coupling_map() -> None:
    expected = {frozenset((q, q + 1)) for start, stop in EAGLE_ROWS for q in range(start, stop - 1)}
    for upper, connector, lower in EAGLE_CONNECTORS:
        expected |= {frozenset((upper, connector)), frozenset((connector, lower))}
    eagle = heavy_hex_eagle()
    assert eagle.num_nodes == 127
    assert len(eagle.edges) == 144
    assert undirected(eagle) == expected


@pytest.mark.parametrize(
    ("rows", "cols", "qubits"), [(3, 3, 9), (3, 7, 23), (5, 11, 65), (7, 15, 127), (13, 27, 433)]
)
def test_heavy_hex_is_connected_and_of_degree_three(rows: int, cols: int, qubits: int) -> None:
    graph = heavy_hex(rows, cols)
    assert_proper_colouring(graph)
    assert graph.num_nodes == qubits
    assert len(graph.layers) == 3
    assert max(degrees(graph).values()) <= 3
    assert is_connected(graph)


@given(st.integers(2, 9), st.randoms(use_true_random=False))
def test_greedy_colouring_of_any_graph(n: int, random: Random) -> None:
    edges = [edge for edge in combinations(range(n), 2) if random.random() < 0.6]
    random.shuffle(edges)
    graph = from_edges(n, edges)
    assert sorted(graph.edges) == sorted(edges)
    assert_proper_colouring(graph)
    if edges:
        assert len(graph.layers) <= 2 * max(degrees(graph).values()) - 1


def test_direction_of_edges_is_kept() -> None:
    assert from_edges(2, [(1, 0)]).edges == ((1, 0),)


def test_a_number_stands_for_a_line() -> None:
    assert as_graph(5) == line(5)
    assert as_graph(ring(5)) == ring(5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: line(0), "n must be at least 1"),
        (lambda: line(2.5), "n must be an integer"),
        (lambda: line(True), "n must be an integer"),
        (lambda: ring(2), "n must be at least 3"),
        (lambda: grid(0, 3), "rows must be"),
        (lambda: grid(3, 0), "cols must be"),
        (lambda: heavy_hex(4, 15), "rows must be odd"),
        (lambda: heavy_hex(7, 14), "cols must be 3, 7, 11"),
        (lambda: as_graph(1), "graph .* at least 2"),
        (lambda: as_graph(Graph(1, ())), "graph must have at least 2"),
        (lambda: as_graph("line"), "graph .* integer"),
        (lambda: from_edges(3, [(0, 3)]), r"edges .*\(0, 3\).* 0\.\.2"),
        (lambda: from_edges(3, [(-1, 2)]), "edges .* 0..2"),
        (lambda: from_edges(3, [(1, 1)]), "edges .* two different"),
        (lambda: from_edges(3, [(0, 1), (1, 0)]), "edges .* twice"),
        (lambda: from_edges(3, [(0, 1, 2)]), "edges must be pairs"),
        (lambda: from_edges(3, [0, 1]), "edges must be pairs"),
        (lambda: from_edges(3, [("a", "b")]), "edges must be pairs"),
        (lambda: Graph(3, (((0, 1), (1, 2)),)), r"layers\[0\] uses a node twice"),
    ],
)
def test_bad_input_names_the_argument(make, words: str) -> None:
    with pytest.raises(CircuitError, match=words):
        make()
