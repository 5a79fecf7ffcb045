"""What ``expect`` and ``plan`` share: the circuit, its numbers, its observables, the model."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable, check_observable
from tn_qnn.circuit.qasm import from_qasm, load_qasm
from tn_qnn.circuit.qasm.source import MAX_BYTES
from tn_qnn.cli.observables import parse_observable
from tn_qnn.cli.options import DTYPES, add_engine, engine
from tn_qnn.errors import CircuitError, InputError, QasmError

if TYPE_CHECKING:
    from tn_qnn.models.qnn import QNN

DTYPE = "complex128"
_FEATURE = re.compile(r"features\[(\d{1,9})\]")


def add_circuit(parser: argparse.ArgumentParser) -> None:
    """Add FILE, OBS, --json and the engine's options."""
    parser.add_argument("file", metavar="FILE", help="OpenQASM 2 or 3; - reads stdin")
    parser.add_argument(
        "observables",
        metavar="OBS",
        nargs="+",
        help="Z62, X13*Y29*Z31, 0.5*X0+Z1*Z2, or P(0=1,3=0): the probability of these bits",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_engine(parser, tuple(DTYPES), DTYPE)


def setting(text: str) -> tuple[str, float]:
    """``name=number``."""
    name, sign, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (sign and name.strip() and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"NAME=NUMBER expected, such as a=0.3, not {text!r}")
    return name.strip(), value


def read_circuit(file: str) -> Circuit:
    """Read a file, or stdin where it is ``-``."""
    if file != "-":
        return load_qasm(file)
    try:
        text = sys.stdin.buffer.read(MAX_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QasmError(f"stdin: not UTF-8 text (byte {error.start})") from None
    try:
        return from_qasm(text)
    except QasmError as error:
        raise QasmError(f"stdin: {error}") from None


def read_observables(texts: Sequence[str], circuit: Circuit) -> dict[str, Observable]:
    """Observables by the text that the user gave."""
    return {
        text: check_observable(parse_observable(text), circuit.num_qubits)
        for text in dict.fromkeys(texts)
    }


def bound(circuit: Circuit, settings: Sequence[tuple[str, float]]) -> Circuit:
    """The circuit with all its inputs set.

    Raises
    ------
    InputError
        For an input that is set twice, is not set, or that the circuit does not have.
    """
    used = {i for op in circuit.operations for p in op.params for i in p.features}
    weights: dict[str, float] = {}
    features: dict[int, float] = {}
    for name, value in settings:
        found = _FEATURE.fullmatch(name)
        if found and int(found[1]) in used:
            known = int(found[1]) in features
            features[int(found[1])] = value
        elif name in circuit.weights:
            known = name in weights
            weights[name] = value
        else:
            inputs = _listed([*circuit.weights, *(f"features[{i}]" for i in sorted(used))])
            raise InputError(f"--set: the circuit has no input {name!r}; it has {inputs}")
        if known:
            raise InputError(f"--set: {name!r} is set twice")
    missing = [name for name in circuit.weights if name not in weights]
    missing += [f"features[{i}]" for i in sorted(used - set(features))]
    if missing:
        raise InputError(f"the inputs {_listed(missing)} have no value; --set '{missing[0]}=0.3'")
    return circuit.bind(weights, features)


def make_model(
    circuit: Circuit, observables: Sequence[Observable], args: argparse.Namespace, **sizes: Any
) -> QNN:
    """The model with the options of the command line."""
    from tn_qnn.models.qnn import QNN

    if not circuit.num_qubits:
        raise CircuitError("the circuit has no qubits")
    return QNN(circuit, observables, **engine(args, DTYPE), **sizes)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + ("" if len(names) <= 5 else ", ...") or "none"
