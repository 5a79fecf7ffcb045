"""``tn-qnn bench``: the benchmark of a clone."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import tn_qnn
from tn_qnn.errors import BackendError

HELP = """run the benchmark of a clone
The cases and their goals are in the folder bench/ of a clone; an installed package has none.
Arguments go to 'python -m bench', whose own --help tells of them.

examples:
  tn-qnn bench
  tn-qnn bench --quick --only line
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: what is not known goes to the benchmark."""


def run(args: argparse.Namespace) -> int:
    """Run ``python -m bench`` in the clone that this package lies in."""
    clone = Path(tn_qnn.__file__).parents[1]
    # A folder named bench beside an installed package belongs to somebody else.
    if not ((clone / "bench" / "__main__.py").is_file() and (clone / "setup.cfg").is_file()):
        raise BackendError(
            f"bench: {clone} holds no bench/; run it in a clone of tn_qnn, by 'make bench'"
        )
    return subprocess.run([sys.executable, "-m", "bench", *args.others], cwd=clone).returncode
