"""A progress bar in terminals and notebooks, by tqdm; imported only when it is shown."""

import importlib.util
import sys
from typing import Any, Protocol

from tn_qnn.train.history import Row


class Bar(Protocol):
    """What the trainer asks of a progress bar."""

    def show(self, row: Row) -> None:
        """Go on to the row's step."""
        ...

    def close(self) -> None:
        """End the bar."""
        ...


class NoBar:
    """A bar that shows nothing."""

    def show(self, row: Row) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TqdmBar:
    """Steps done, time left, loss, and the last validation score."""

    def __init__(self, done: int, total: int) -> None:
        # Without ipywidgets tqdm.auto warns in a notebook; the text bar works there too.
        if importlib.util.find_spec("ipywidgets"):
            from tqdm.auto import tqdm
        else:
            from tqdm.std import tqdm
        self._bar: Any = tqdm(total=total, initial=done, desc="train", unit="step")
        self._score = ""

    def show(self, row: Row) -> None:
        """Go on to the row's step."""
        if row.validated:
            self._score = f", score {row.validation_score:.4f}"
        self._bar.set_postfix_str(f"loss {row.loss:.4f}{self._score}", refresh=False)
        self._bar.update(row.step - self._bar.n)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def progress_bar(wanted: bool | None, done: int, total: int) -> Bar:
    """Return a bar; None shows one in a notebook or where stderr is a terminal."""
    if wanted is None:
        wanted = _in_notebook() or bool(sys.stderr and sys.stderr.isatty())
    return TqdmBar(done, total) if wanted else NoBar()


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
