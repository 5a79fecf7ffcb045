"""Entry point of ``tn-qnn``: picks the command and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from tn_qnn import __version__
from tn_qnn.cli import bench, expect, info, plan, predict, train
from tn_qnn.cli.options import Parser
from tn_qnn.errors import TnQnnError

OK, FAILED, USAGE, INTERRUPTED, CLOSED = 0, 1, 2, 130, 141
COMMANDS = (train, predict, expect, plan, bench, info)
EPILOG = """\
example:
  tn-qnn train digits

exit codes: 0 done; 1 an error, told in one line; 2 wrong usage; 130 interrupted.
Results go to stdout, everything else to stderr. 'tn-qnn COMMAND --help' says more.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        The words after ``tn-qnn``; default those of this process.

    Returns
    -------
    int
        The exit code: 0 done, 1 an error, 2 wrong usage, 130 interrupted, 141 stdout was closed.

    Examples
    --------
    >>> main(["--version"])
    tn-qnn 0.1.0
    0
    """
    debug = False
    try:
        args = parse(argv)
        debug = args.debug
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code: int = args.run(args)
            sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse's way to end: after --help, or for wrong usage
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _told("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Python flushes stdout once more at exit: that must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except (TnQnnError, OSError, MemoryError) as error:
        if debug:
            raise
        return _told(f"error: {str(error) or 'out of memory'}", FAILED)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the words of a command line; ``others`` are those of another program."""
    parser = make_parser()
    args, others = parser.parse_known_args(argv)
    if others and args.run is not bench.run:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    args.others = others
    return args


def make_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="tn-qnn",
        description="Quantum neural networks as tensor networks.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tn-qnn {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        summary, _, rest = command.HELP.partition("\n")
        added = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=rest.strip("\n"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(added)
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        added.set_defaults(run=command.run)
    return parser


def _told(message: str, code: int) -> int:
    print(f"tn-qnn: {one_line(message)}", file=sys.stderr)
    return code


def one_line(message: str) -> str:
    """A message without line breaks and control characters, which names of files may hold.

    Examples
    --------
    >>> one_line("no file 'a\\x1b[2J'\\n  give another")
    "no file 'a\\\\x1b[2J' give another"
    """
    words = " ".join(message.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"tn-qnn: warning: {one_line(str(message))}", file=sys.stderr)
