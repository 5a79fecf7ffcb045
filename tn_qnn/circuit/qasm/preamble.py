"""Definitions of the gates that the standard libraries lack, exact to the phase in version 3."""

from __future__ import annotations

from collections.abc import Mapping

from tn_qnn.circuit.qasm.library import LIBRARIES

#: Gates of the table that need no definition, by version.
STANDARD: Mapping[int, frozenset[str]] = {
    2: frozenset(LIBRARIES["qelib1.inc"]) - {"ryy"},  # not in the file that Qiskit ships
    3: frozenset(LIBRARIES["stdgates.inc"]) | {"U"},
}

_RCCX = "h c; t c; cx b, c; tdg c; cx a, c; t c; cx b, c; tdg c; h c;"
_HALF_RC3X = "h d; t d; cx c, d; tdg d; h d;"  # its own inverse
_RC3X = f"{_HALF_RC3X} cx a, d; t d; cx b, d; tdg d; cx a, d; t d; cx b, d; tdg d; {_HALF_RC3X}"
_RC3XDG = f"{_HALF_RC3X} t d; cx b, d; tdg d; cx a, d; t d; cx b, d; tdg d; cx a, d; {_HALF_RC3X}"
_RYY = "sdg a; h a; sdg b; h b; rzz(theta) a, b; h a; s a; h b; s b;"

_BOTH = {
    "ryy(theta) a, b": _RYY,
    "iswap a, b": "rxx(-pi/2) a, b; ryy(-pi/2) a, b;",
    "iswapdg a, b": "rxx(pi/2) a, b; ryy(pi/2) a, b;",
    "fsim(theta, phi) a, b": "rxx(theta) a, b; ryy(theta) a, b; cp(-phi) a, b;",
    "rc3xdg a, b, c, d": _RC3XDG,
}
_ONLY_2 = {
    "csxdg a, b": "h b; cp(-pi/2) a, b; h b;",
    "ccz a, b, c": "h c; ccx a, b, c; h c;",
    "c3sqrtxdg a, b, c, d": "h d; mcphase4(-pi/2) a, b, c, d; h d;",
}
_ONLY_3 = {
    "u0(gamma) a": "",
    "sxdg a": "inv @ sx a;",
    "csx a, b": "ctrl @ sx a, b;",
    "csxdg a, b": "inv @ ctrl @ sx a, b;",
    "cu3(theta, phi, lam) a, b": "cu(theta, phi, lam, 0) a, b;",
    "rxx(theta) a, b": "h a; h b; rzz(theta) a, b; h a; h b;",
    "rzz(theta) a, b": "cx a, b; rz(theta) b; cx a, b;",
    "ccz a, b, c": "ctrl(2) @ z a, b, c;",
    "c3x a, b, c, d": "ctrl(3) @ x a, b, c, d;",
    "c4x a, b, c, d, e": "ctrl(4) @ x a, b, c, d, e;",
    "c3sqrtx a, b, c, d": "ctrl(3) @ sx a, b, c, d;",
    "c3sqrtxdg a, b, c, d": "inv @ ctrl(3) @ sx a, b, c, d;",
    "rccx a, b, c": _RCCX,
    "rc3x a, b, c, d": _RC3X,
}


def _texts(bodies: Mapping[str, str]) -> dict[str, str]:
    """Gate name to the text of its definition."""
    return {
        head.split("(")[0].split()[0]: f"gate {head} {{ {body} }}" for head, body in bodies.items()
    }


#: Definitions by version and gate name.
DEFINITIONS: Mapping[int, Mapping[str, str]] = {
    2: _texts({**_BOTH, **_ONLY_2}),
    3: _texts({**_BOTH, **_ONLY_3}),
}


def phase_definition(name: str) -> str:
    """The definition of ``mcphaseN``, a phase on N >= 3 qubits, for version 2.

    Barenco et al., arXiv:quant-ph/9503016, lemma 7.5: with X under all but the last two
    qubits, two half phases and a phase on all qubits but the last but one.
    """
    n = int(name.removeprefix("mcphase"))
    *others, middle, last = (f"q{k}" for k in range(n))
    under = ", ".join([*others, middle])
    rest = ", ".join([*others, last])
    inner = "cp" if n == 3 else f"mcphase{n - 1}"
    flip = f"cx {under};" if n == 3 else f"h {middle}; {inner}(pi) {under}; h {middle};"
    return (
        f"gate {name}(lam) {', '.join([*others, middle, last])} {{ cp(lam/2) {middle}, {last}; "
        f"{flip} cp(-lam/2) {middle}, {last}; {flip} {inner}(lam/2) {rest}; }}"
    )
