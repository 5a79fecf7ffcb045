"""Steps of tensor-valued weights, brought back onto the unitary matrices.

A step along a gradient of the entries leaves the unitary matrices. The model does not mind: a
block's matrix is the polar factor of its entries, whatever these are. But an entry's size then
grows with every step, and the angle by which the next step of a given size turns the block
shrinks. A retraction after every step keeps step sizes what they say.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tn_qnn.arrays import Array, array_module
from tn_qnn.circuit.block_charts import entries_of, matrices_of
from tn_qnn.circuit.polar import polar_factor
from tn_qnn.errors import InputError


@dataclass(frozen=True)
class Retraction:
    """Puts unitary matrices in the place of the entries of all blocks in the chart "entries".

    Parameters
    ----------
    method : "polar" or "qr"
        The nearest unitary matrix, which changes no output, since the model takes the polar
        factor itself; or the factor Q of A = QR with a positive diagonal of R, which agrees to
        first order in the step and needs no more than one orthogonalisation.

    Raises
    ------
    InputError
        When the method is unknown.

    References
    ----------
    P.-A. Absil, R. Mahony, R. Sepulchre, Optimization Algorithms on Matrix Manifolds (2008), 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from tn_qnn.circuit.block_groups import BlockGroup
    >>> group = BlockGroup(("U",), np.arange(4)[None], 1, True, "entries")
    >>> Retraction("polar")(np.array([0.0, -2.0, 0.5, 0.0, 7.0]), [group])
    array([ 0., -1.,  1.,  0.,  7.])
    """

    method: Literal["polar", "qr"] = "polar"

    def __post_init__(self) -> None:
        if self.method not in ("polar", "qr"):
            raise InputError(f"retraction: got {self.method!r}, expected 'polar' or 'qr'.")

    def check(self, model: Any) -> None:
        """Raise ``InputError`` where the model has no block in the chart "entries"."""
        if not any(group.chart == "entries" for group in getattr(model, "blocks", ())):
            raise InputError(
                "retraction: the model has no block in the chart 'entries', so there is nothing "
                "to bring back; leave it None, or make blocks by orthogonal(name, "
                "chart='entries')."
            )

    def __call__(self, weights: Array, blocks: Any) -> Array:
        """Return the weights after the retraction.

        Parameters
        ----------
        weights : float64 array (W,)
        blocks : sequence of BlockGroup
            The tensor-valued weights among them; those of another chart stay as they are.
        """
        moved = weights.copy()
        for group in blocks:
            if group.chart == "entries":
                matrices = matrices_of(group.coordinates(weights), group.real)
                back = polar_factor if self.method == "polar" else q_factor
                moved[group.columns] = entries_of(back(matrices), group.real)
        return moved


def q_factor(matrices: Array) -> Array:
    """Return Q of A = Q R with a positive diagonal of R, (..., d, d).

    Examples
    --------
    >>> import numpy as np
    >>> q_factor(np.diag([2.0, -3.0])).diagonal().tolist()
    [1.0, -1.0]
    """
    xp = array_module(matrices)
    q, r = xp.linalg.qr(matrices)
    diagonal = xp.diagonal(r, axis1=-2, axis2=-1)
    size = abs(diagonal)
    sign = xp.where(size > 0, diagonal / xp.where(size > 0, size, 1.0), 1.0)
    return q * sign[..., None, :]


def get_retraction(retraction: str | Retraction | None) -> Retraction | None:
    """Return a retraction by its name ("polar" or "qr") or as it is; None for none.

    Examples
    --------
    >>> get_retraction("qr")
    Retraction(method='qr')
    """
    if retraction is None or isinstance(retraction, Retraction):
        return retraction
    return Retraction(retraction)  # type: ignore[arg-type]
