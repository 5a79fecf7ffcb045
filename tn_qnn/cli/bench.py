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
Arguments go to 'python -m bench', with --backend cuda to 'python -m bench.gpu', whose own --help
tells of them.

examples:
  tn-qnn bench
  tn-qnn bench --quick --only line
  tn-qnn bench --backend cuda --list
"""
MODULES = {"cpu": "bench", "cuda": "bench.gpu"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --backend; what is not known goes to the benchmark."""
    parser.add_argument("--backend", default="cpu", choices=tuple(MODULES), help="default: cpu")


def run(args: argparse.Namespace) -> int:
    """Run the benchmark of a backend, in the clone that this package lies in."""
    clone = Path(tn_qnn.__file__).parents[1]
    # A folder named bench beside an installed package belongs to somebody else.
    if not ((clone / "bench" / "__main__.py").is_file() and (clone / "setup.cfg").is_file()):
        raise BackendError(
            f"bench: {clone} holds no bench/; run it in a clone of tn_qnn, by 'make bench'"
        )
    command = [sys.executable, "-m", MODULES[args.backend], *args.others]
    return subprocess.run(command, cwd=clone).returncode
