"""Graphs of qubits with coloured edges: edges of one colour share no qubit, so they act at once."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

from tn_qnn.errors import CircuitError

Edge = tuple[int, int]


@dataclass(frozen=True)
class Graph:
    """Qubits, and the pairs of them that interact, grouped in layers.

    Use :func:`from_edges` when the colouring is not known.

    Parameters
    ----------
    num_nodes : int
        Number of qubits, at least 1.
    layers : tuple of tuples of (int, int)
        Edge colouring: no qubit appears twice in a layer, no edge twice in the graph. An edge
        keeps its direction, which matters for entanglers such as ``cx``.

    Raises
    ------
    CircuitError
        If a node is out of range, an edge is a loop or stands twice, or a layer uses a node twice.

    Examples
    --------
    >>> Graph(3, (((0, 1),), ((1, 2),))).edges
    ((0, 1), (1, 2))
    """

    num_nodes: int
    layers: tuple[tuple[Edge, ...], ...]

    def __post_init__(self) -> None:
        check_count("num_nodes", self.num_nodes, 1)
        check_edges(self.num_nodes, self.edges)
        for position, layer in enumerate(self.layers):
            nodes = [node for edge in layer for node in edge]
            if len(set(nodes)) < len(nodes):
                raise CircuitError(
                    f"layers[{position}] uses a node twice: {layer}; the edges of a layer must "
                    "share no node (tn_qnn.circuit.graphs.from_edges finds such layers)"
                )

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, layer by layer."""
        return tuple(edge for layer in self.layers for edge in layer)


def check_count(argument: str, value: int, minimum: int) -> int:
    """Return `value` as an int, or raise a CircuitError that names the argument.

    >>> check_count("layers", 3, minimum=1)
    3
    """
    try:
        count = operator.index(None if isinstance(value, bool) else value)  # type: ignore[arg-type]
    except TypeError:
        raise CircuitError(f"{argument} must be an integer, got {value!r}") from None
    if count < minimum:
        raise CircuitError(f"{argument} must be at least {minimum}, got {count}")
    return count


def check_edges(num_nodes: int, edges: Iterable[Edge]) -> None:
    """Raise a CircuitError for a node out of range, a loop or an edge that stands twice.

    >>> check_edges(3, [(0, 1), (2, 1)])
    """
    seen: set[frozenset[int]] = set()
    for edge in edges:
        ends = frozenset(edge)
        if len(edge) != 2 or len(ends) != 2:
            raise CircuitError(f"edges holds {edge}: an edge must join two different nodes")
        if not all(0 <= node < num_nodes for node in edge):
            raise CircuitError(
                f"edges holds {edge}: with {num_nodes} nodes they must lie in 0..{num_nodes - 1}"
            )
        if ends in seen:
            raise CircuitError(f"edges holds {edge} twice (the direction does not count)")
        seen.add(ends)


def from_edges(n: int, edges: Iterable[Edge]) -> Graph:
    """Colour the edges of any graph greedily: each takes the first colour free at both its ends.

    Parameters
    ----------
    n : int
        Number of nodes.
    edges : iterable of (int, int)
        Edges, in the order in which they are coloured.

    Returns
    -------
    Graph
        With at most ``2 d - 1`` layers, where d is the largest degree.

    Raises
    ------
    CircuitError
        If a node is out of range, or an edge is a loop or stands twice.

    Examples
    --------
    >>> from_edges(4, [(0, 1), (0, 2), (0, 3), (2, 3)]).layers
    (((0, 1), (2, 3)), ((0, 2),), ((0, 3),))
    """
    n = check_count("n", n, 1)
    try:
        pairs = [(operator.index(a), operator.index(b)) for a, b in edges]
    except (TypeError, ValueError):
        raise CircuitError("edges must be pairs of integers, such as [(0, 1), (1, 2)]") from None
    check_edges(n, pairs)
    layers: list[list[Edge]] = []
    colours: list[set[int]] = [set() for _ in range(n)]
    for a, b in pairs:
        taken = colours[a] | colours[b]
        colour = next(c for c in range(len(taken) + 1) if c not in taken)
        if colour == len(layers):
            layers.append([])
        layers[colour].append((a, b))
        colours[a].add(colour)
        colours[b].add(colour)
    return Graph(n, tuple(tuple(layer) for layer in layers))


def as_graph(graph: Graph | int, minimum: int = 2) -> Graph:
    """Return a graph as it is, and a number of qubits as a line.

    >>> as_graph(3) == line(3)
    True
    """
    if not isinstance(graph, Graph):
        graph = line(check_count("graph (as a number of qubits)", graph, minimum))
    elif graph.num_nodes < minimum:
        raise CircuitError(f"graph must have at least {minimum} nodes, got {graph.num_nodes}")
    return graph


def line(n: int) -> Graph:
    """Open chain: even bonds (0, 1), (2, 3), ..., then odd bonds (1, 2), (3, 4), ...

    Examples
    --------
    >>> line(5).layers
    (((0, 1), (2, 3)), ((1, 2), (3, 4)))
    """
    check_count("n", n, 1)
    bonds = [(i, i + 1) for i in range(n - 1)]
    return _without_empty_layers(n, [bonds[::2], bonds[1::2]])


def ring(n: int) -> Graph:
    """Closed chain of at least three qubits: two layers, or three where n is odd.

    Examples
    --------
    >>> ring(5).layers
    (((0, 1), (2, 3)), ((1, 2), (3, 4)), ((4, 0),))
    """
    check_count("n", n, 3)
    bonds = [(i, (i + 1) % n) for i in range(n)]
    closing = [bonds.pop()] if n % 2 else []
    return _without_empty_layers(n, [bonds[::2], bonds[1::2], closing])


def grid(rows: int, cols: int) -> Graph:
    """Square lattice, node ``row * cols + col``, in four colours.

    The layers are the even and odd horizontal bonds, then the even and odd vertical bonds.

    Examples
    --------
    >>> grid(2, 3).layers
    (((0, 1), (3, 4)), ((1, 2), (4, 5)), ((0, 3), (1, 4), (2, 5)))
    """
    check_count("rows", rows, 1)
    check_count("cols", cols, 1)
    n = rows * cols
    right = [(i, i + 1) for i in range(n) if i % cols < cols - 1]
    down = [(i, i + cols) for i in range(n - cols)]
    layers = [[(i, j) for i, j in right if i % cols % 2 == parity] for parity in (0, 1)]
    layers += [[(i, j) for i, j in down if i // cols % 2 == parity] for parity in (0, 1)]
    return _without_empty_layers(n, layers)


def complete(n: int) -> Graph:
    """Every pair of qubits, as a round-robin tournament: n - 1 layers, or n where n is odd.

    Examples
    --------
    >>> complete(4).layers
    (((0, 3), (1, 2)), ((1, 3), (0, 2)), ((2, 3), (0, 1)))
    """
    check_count("n", n, 1)
    rounds = n - 1 if n % 2 == 0 else n
    layers = []
    for shift in range(rounds):
        seats = [(shift + k) % rounds for k in range(rounds)]
        # Seat 0 meets the fixed last player of an even tournament, and rests in an odd one.
        pairs = [(seats[0], n - 1)] if n % 2 == 0 else []
        pairs += [(seats[k], seats[-k]) for k in range(1, (rounds + 1) // 2)]
        layers.append([(min(pair), max(pair)) for pair in pairs])
    return _without_empty_layers(n, layers)


def heavy_hex(rows: int, cols: int) -> Graph:
    """Heavy-hexagon lattice of IBM's processors, in IBM's numbering and three colours.

    Long rows of `cols` qubits, of which the first lacks its last and the last its first qubit, are
    joined by single connectors in columns 0, 4, 8, ... and 2, 6, 10, ... in turn. A row is
    numbered from left to right, then the connectors below it. (5, 11) is Hummingbird with 65
    qubits, (7, 15) Eagle with 127, (13, 27) Osprey with 433, (21, 43) Condor with 1121.

    Parameters
    ----------
    rows : int
        Number of long rows: odd, at least 3.
    cols : int
        Qubits in a full row: 3, 7, 11, ...

    Returns
    -------
    Graph
        With three layers, which is the least, as the largest degree is 3.

    Raises
    ------
    CircuitError
        If `rows` is even or `cols` is not 3 modulo 4.

    References
    ----------
    Chamberland, Zhu, Yoder, Hertzberg, Cross, Phys. Rev. X 10, 011022 (2020).

    Examples
    --------
    >>> small = heavy_hex(3, 3)
    >>> small.num_nodes, len(small.edges), len(small.layers)
    (9, 8, 3)
    """
    check_count("rows", rows, 3)
    check_count("cols", cols, 3)
    if rows % 2 == 0:
        raise CircuitError(f"rows must be odd, got {rows}; try {rows + 1}")
    if cols % 4 != 3:
        raise CircuitError(f"cols must be 3, 7, 11, ..., got {cols}; try {cols + (3 - cols) % 4}")
    layers: list[list[Edge]] = [[], [], []]
    above: dict[int, int] = {}
    n = 0
    for row in range(rows):
        last = row == rows - 1
        columns = range(int(last), cols - int(row == 0))
        node = {c: n + k for k, c in enumerate(columns)}
        n += len(columns)
        # Connectors take colour 2 above and 0 below, so the row avoids 0 where one ends from
        # above, and 2 where one leaves below: with period 4, its colours are 1, 0, 1, 2.
        offset = 0 if row % 2 else 2
        for c in columns[:-1]:
            layers[(1, 0, 1, 2)[(c - offset) % 4]].append((node[c], node[c + 1]))
        layers[0].extend((connector, node[c]) for c, connector in above.items())
        below = [] if last else range(2 - offset, cols, 4)
        above = {c: n + k for k, c in enumerate(below)}
        n += len(above)
        layers[2].extend((node[c], connector) for c, connector in above.items())
    return _without_empty_layers(n, layers)


def heavy_hex_eagle() -> Graph:
    """IBM's Eagle processors (127 qubits, 144 edges: ibm_kyiv, ibm_brisbane and others).

    Examples
    --------
    >>> eagle = heavy_hex_eagle()
    >>> eagle.num_nodes, len(eagle.edges), len(eagle.layers)
    (127, 144, 3)
    """
    return heavy_hex(7, 15)


def _without_empty_layers(n: int, layers: Iterable[Iterable[Edge]]) -> Graph:
    return Graph(n, tuple(filter(None, map(tuple, layers))))
