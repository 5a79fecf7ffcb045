"""What every backend offers: a job in, something that runs it out."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.memory import Budget
from tn_qnn.program.job import Job

DTYPES = ("float32", "float64")


class Executor(Protocol):
    """A job bound to a backend, ready to run for any batch."""

    @property
    def job(self) -> Job:
        """The job it runs."""

    def run(self, weights: NDArray[Any], features: NDArray[Any]) -> NDArray[Any]:
        """Values of the job's readouts.

        Parameters
        ----------
        weights
            Shape (P, W), or (P, S, W) for weight sets a sample; float64.
        features
            Shape (S, F), float64.

        Returns
        -------
        ndarray
            Shape (terms, cones, P, S), real, or complex for an open readout; P and S are 1
            where the program does not depend on them.
        """

    def accumulate(self, weights: Any, features: Any, out: Any) -> None:
        """Run, and add what the readouts give to the outputs of a model.

        Parameters
        ----------
        weights, features
            As for :meth:`run`, or of the backend's own array module.
        out
            Shape (K, P, S), of the same module as the features.
        """

    def pull_back(self, weights: Any, features: Any, slopes: Any, gradient: Any) -> None:
        """Sweep back, and add the derivative of a loss by the weights.

        For a job whose program has a reverse sweep. Right after :meth:`accumulate` with the same
        arrays the values that it left behind are used; else they are worked out again.

        Parameters
        ----------
        weights, features
            Shape (P, W) and (S, F), as for :meth:`accumulate`.
        slopes
            Derivatives of the loss by the outputs, shape (K, P, S), float64.
        gradient
            Shape (P, W), float64, is added to.
        """

    def local_forms(
        self, weights: NDArray[np.float64], features: NDArray[np.float64]
    ) -> tuple[NDArray[Any], ...]:
        """What each pair of a program with local forms makes of its angle, all else as it is.

        Parameters
        ----------
        weights, features
            Shape (1, W) and (S, F).

        Returns
        -------
        tuple of ndarray
            For every form of the program M, so that term k of the job's values is ``t^T M[k] t``
            with t the first R of (cos, sin, 1) of the angle, the bra's on the left; shape
            (terms, R, R, C or 1, 1, S or 1), float64, or complex128 for an open readout.
        """

    def forecast(self, sets: int, samples: int) -> int:
        """Bytes that a run over a batch of that size holds, beside its arguments."""


class Backend(Protocol):
    """Makes executors."""

    @property
    def name(self) -> str:
        """How users call it."""

    def prepare(self, job: Job, dtype: np.dtype[Any], budget: Budget) -> Executor:
        """Bind a job."""

    def free_memory(self) -> int:
        """Bytes that are free where arrays of this backend live."""

    def speed(self, dtype: str) -> float:
        """Multiply-adds a second to expect, for predictions."""
