"""The topology of a network, as the path search sees it."""

from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.network.network import Network
from tn_qnn.plan.topology import Topology


def topology_of(network: Network, sets: int, samples: int) -> Topology:
    """Index structure of a network with its batch labels at given sizes.

    Equal cones multiply every cost alike, so their label is left out: a plan does not
    depend on how many cones share it.
    """
    first = len(network.sizes)
    batch_ids = {SETS: first, SAMPLES: first + 1}
    inputs = tuple(
        (*t.indices, *(batch_ids[x] for x in (SETS, SAMPLES) if x in t.labels))
        for t in network.tensors
    )
    used = {i for tensor in inputs for i in tensor}
    batch = frozenset(i for i in batch_ids.values() if i in used)
    output = (*network.output, *sorted(batch))
    return Topology(inputs, output, (*network.sizes, sets, samples), batch)
