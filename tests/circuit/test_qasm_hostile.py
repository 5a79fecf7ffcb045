"""Text that is wrong, hostile or random: a QasmError that says where and what, and nothing else."""

import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.qasm import from_qasm, load_qasm
from tn_qnn.circuit.qasm.source import MAX_BYTES
from tn_qnn.errors import QasmError

HEADER = {
    2: 'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; ',
    3: 'OPENQASM 3.0; include "stdgates.inc"; qubit[4] q; ',
}
POSITION = re.compile(r"line \d+, column \d+: found ")


def refused(text: str, **limits: int) -> str:
    with pytest.raises(QasmError) as caught:
        from_qasm(text, **limits)
    assert POSITION.match(str(caught.value)), caught.value
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("version", "statement", "found"),
    [
        (2, "measure q[0] -> c[0];", "'measure', a measurement"),
        (2, "reset q[0];", "'reset', a measurement or reset"),
        (2, "creg c[1]; if (c==1) x q[0];", "'if', control flow"),
        (2, "opaque magic(t) a; magic(1) q[0];", "opaque gate 'magic'"),
        (2, "ctrl @ x q[0], q[1];", "statement of OpenQASM 3"),
        (2, "gate f a { measure a; }", "'measure'"),
        (3, "measure q;", "'measure'"),
        (3, "bit c = measure q[0];", "assignment"),
        (3, "bit c; c = measure q[0];", "'c', which is no gate; assignments"),
        (3, "for int i in [0:2] { x q[i]; }", "'for', control flow"),
        (3, "while (true) { x q; }", "'while', control flow"),
        (3, "def f(qubit a) { x a; }", "'def', a subroutine"),
        (3, "defcal x $0 { }", "'defcal', a calibration"),
        (3, "delay[100ns] q;", "'delay', timing"),
        (3, "box { x q[0]; }", "'box', timing"),
        (3, "output bit c;", "'output'"),
        (3, "float x = 2.0;", "'float', a classical variable"),
        (3, "x $0;", "physical qubit"),
        (3, "gate f a { for int i in [0:2] { x a; } }", "'for'"),
        (3, "rx(0.1 < 2) q[0];", "'<'"),
        (3, "rx(1/2) q[0];", r"integer division.*1\.0/2"),
        (3, "rx(2^3) q[0];", r"write \*\*"),
        (3, "rx(1/0.0) q[0];", "division by zero"),
        (3, "rx(sqrt(-1)) q[0];", "'sqrt'"),
        (3, "rx((-1)**0.5) q[0];", r"'\*\*'"),
        (3, "rx(1e308*1e10) q[0];", "not finite"),
        (3, "rx(theta) q[0];", "'theta', which is not declared"),
        (3, "input float a; rx(sin(a)) q[0];", "input may occur"),
        (3, "input float a; rx(1/a) q[0];", "input may occur"),
        (3, "input float a; rx(a**5) q[0];", "input may occur"),
        (3, "input float a; rx((a*a)*(a*a*a)) q[0];", "degree 4"),
        (3, "input float a; const float b = a;", "input in the value"),
        (3, "input float a; pow(a) @ x q[0];", "power that is no constant"),
        (3, "input int a;", "neither float nor angle"),
        (3, "input array[float, 3] v; rx(v[3]) q[0];", "index of 'v'"),
        (3, "const int n = 2.5;", "integer 'n'"),
        (3, "qubit[0] r;", "size 0"),
        (3, "qubit[-1] r;", "size -1"),
        (3, "qubit[2.5] r;", "no constant integer"),
        (3, "x q[4];", "index 4 of 'q', which has 4 qubits; use 0 to 3"),
        (3, "x q[0:2:0][0:9];", "found"),
        (3, "x q[0:0:3];", "step of 0"),
        (3, "x q[2:1];", "empty part"),
        (3, "x r;", "'r', which is no qubit"),
        (3, "cx q[0], q[0];", "same qubit twice"),
        (3, "ctrl @ x q[0], q[0];", "same qubit twice"),
        (3, "cx q, q[0:1];", "2 and 4 qubits"),
        (3, "let a = q[0:2] ++ q[2:3];", "twice in the alias"),
        (3, "cx q[0];", "0 angles and 1 qubits for 'cx'; it takes 0 and 2"),
        (3, "rx q[0];", "it takes 1 and 1"),
        (3, "ctrl(2) @ x q[0], q[1];", "it takes 0 and 3"),
        (3, "ctrl(0) @ x q[0];", "count"),
        (3, "pow(0.5) @ pow(1000000) @ rx(1e308) q[0];", "exceeds 64-bit"),
        (3, "input float a; pow(1000000) @ rx(1e308*a) q[0];", "exceeds 64-bit"),
        (3, "pow @ x q[0];", "without an exponent"),
        (3, "rzz(1) q[0], q[1];", "a gate that is not declared; include"),
        (3, "foo q[0];", "'foo', a gate that is not declared; define"),
        (3, "gate f a { f a; }", "its own definition; no recursion"),
        (3, "gate f a { g a; } gate g a { f a; }", "'g', a gate that is not declared"),
        (3, "gate f a { x b; }", "'b', which is no qubit of this gate"),
        (3, "gate f a, a { }", "same name twice"),
        (3, "gate f a { } gate f a { }", "second definition"),
        (3, "gate U a { }", "built-in 'U'"),
        (3, "gate f(gate) a { }", "keyword 'gate'"),
        (3, "qubit q;", "second declaration"),
        (3, "qubit for;", "keyword 'for'"),
        (3, "OPENQASM 3.0;", "found"),
        (3, "x q[0]", "end of the text"),
        (3, "gate f a { x a;", "end of the text"),
        (3, "x q[0]; }", "'}'"),
        (3, "/* no end", r"close it with \*/"),
        (3, 'include "no end', "string without an end"),
        (3, "@tn_qnn.weight a\ninput float a;", "tn_qnn.weight"),
        (3, "x q[0];\x00", r"'\\x00'"),
    ],
)
def test_what_is_wrong_is_named(version: int, statement: str, found: str) -> None:
    assert re.search(found, refused(HEADER[version] + statement))


def test_line_and_column_count_from_one() -> None:
    with pytest.raises(QasmError, match=r"^line 3, column 5: found 'oops'"):
        from_qasm("OPENQASM 3.0;\nqubit q;\n    oops q;\n")


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../secret.inc", "file:///etc/passwd", "qelib1.inc\\x00", "", "-"]
)
def test_no_file_is_included(file: str) -> None:
    assert "no file is read" in refused(f'OPENQASM 2.0; include "{file}"; qreg q[1];')


@pytest.mark.parametrize("header", ["OPENQASM 1.0;", "OPENQASM 4;", "OPENQASM;", "OPENQASM 2.0"])
def test_other_versions_are_refused(header: str) -> None:
    refused(header)


def test_no_qubits() -> None:
    assert "no qubits" in refused("") and "no qubits" in refused("OPENQASM 2.0;")


DOUBLING = "gate g0 a { U(1, 2, 3) a; }" + "".join(
    f"gate g{k} a {{ g{k - 1} a; g{k - 1} a; }}" for k in range(1, 60)
)
NESTED_POWERS = "gate p0 a { U(1, 2, 3) a; }" + "".join(
    f"gate p{k} a {{ pow(1000) @ p{k - 1} a; }}" for k in range(1, 10)
)
HOSTILE = {
    "a billion qubits": "OPENQASM 2.0; qreg q[1000000000];",
    "a number of qubits of many digits": f"OPENQASM 2.0; qreg q[{'9' * 200}];",
    "qubits in many registers": "".join(f"qubit[50000] q{k};" for k in range(3)),
    "a number longer than any": f"qubit q; U({'9' * 100_000}, 0, 0) q;",
    "a float out of range": "qubit q; U(1e999999999, 0, 0) q;",
    "a huge integer power": "qubit q; U(9**9**9**9, 0, 0) q;",
    "a huge integer power in turns": "qubit q; U(((((9**99)**99)**99)**99), 0, 0) q;",
    "a huge exponential": "qubit q; U(exp(1e9), 0, 0) q;",
    "parentheses": "qubit q; U(" + "(" * 1_000_000,
    "brackets": "input array[float, 2] v; qubit q; U(" + "v[" * 100_000,
    "calls": "qubit q; U(" + "sin(" * 100_000,
    "powers": "qubit q; U(" + "2**" * 100_000,
    "scopes": "gate f a " + "{" * 100_000,
    "indices": "qubit[4] q; U(0,0,0) q" + "[0:1" * 100_000,
    "doubling gates": DOUBLING + "qubit q; g59 q;",
    "doubling gates that do nothing": DOUBLING.replace("U(1, 2, 3) a;", "") + "qubit q; g59 q;",
    "doubling phases": DOUBLING.replace("U(1, 2, 3) a;", "gphase(1);") + "qubit q; g59 q;",
    "a huge power": "qubit q; pow(1000000000) @ U(1, 2, 3) q;",
    "a power at the limit": "qubit q; pow(1000000) @ U(1, 2, 3) q;",
    "a power of many digits": f"qubit q; pow({'9' * 100}) @ U(1, 2, 3) q;",
    "powers of powers": "qubit q;" + "pow(1000) @ " * 50 + "U(1, 2, 3) q;",
    "nested powers": NESTED_POWERS + "qubit q; p9 q;",
    "powers by a parameter": "gate e(k) a { pow(k) @ U(1,2,3) a; } gate f(k) a { pow(k) @ e(k) a; }"
    "qubit q; f(100000) q;",
    "a chain of gates": "gate g0 a { }"
    + "".join(f"gate g{k} a {{ g{k - 1} a; }}" for k in range(1, 100_000)),
    "powers of phases by a parameter": "gate e(k) a { gphase(k); gphase(k); }"
    "gate f(k) a { pow(k) @ e(k) a; }" + "qubit q;" + "f(100000) q;" * 1_000,
    "inverses of a large gate": "gate g0 a {"
    + "gphase(1);" * 10_000
    + "}"
    + "".join(f"gate g{k} a {{ inv @ g{k - 1} a; }}" for k in range(1, 60))
    + "qubit q; g59 q;",
    "a billion controls": "qubit q; ctrl(1000000000) @ U(1, 2, 3) q;",
    "more controls than a phase takes": "qubit[40] q; ctrl(39) @ U(1, 2, 3) "
    + ", ".join(f"q[{k}]" for k in range(40))
    + ";",
    "a slice of billions": "qubit[4] q; U(1, 2, 3) q[0:1000000000];",
    "a power on every qubit": "qubit[100000] q;" + "pow(3) @ U(1, 2, 3) q;",
    "a word without an end": "qubit " + "q" * 1_000_000 + ";",
    "a comment without an end": "qubit q; /*" + "*" * 1_000_000,
    "binary": "\x7fELF\x02\x01\x01\x00\x00\x00",
    "surrogates and marks": "\ufeff\ud800\u202e qubit q;",
    "signs": "qubit q; U(" + "-" * 1_000_000 + ";",
    "a long expression in a gate": "gate f(t) a { U(" + "t+" * 10_000 + "t, 0, 0) a; } qubit q;",
    "copies of an alias": "qubit[100000] q; "
    + "".join(f"let a{k} = q[0:99998] ++ q[99999];" for k in range(1_000)),
    "copies by an index set": "qubit[2] q; let a = q[{" + "0," * 100_000 + "0}]; U(1,2,3) a ++;",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_in_little_memory(case: str) -> None:
    text = HOSTILE[case]
    tracemalloc.start()
    try:
        refused(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26


def test_limits_are_exact() -> None:
    text = "qubit[3] q; U(1, 2, 3) q;"
    assert len(from_qasm(text, max_qubits=3, max_gates=3)) == 3
    assert "max_qubits=2" in refused(text, max_qubits=2)
    assert "max_gates=2" in refused(text, max_gates=2)


def test_text_over_the_limit_is_refused() -> None:
    assert "split the program" in refused(" " * (MAX_BYTES + 1))


def test_what_is_long_but_harmless_is_read() -> None:
    constant = "+".join(["1.0"] * 50_000)
    assert from_qasm(f"qubit q; U({constant}, 0, 0) q;") == Circuit(1).u3(50_000.0, 0, 0, 0)
    depth = 60
    assert len(from_qasm("qubit q; U(" + "(" * depth + "1" + ")" * depth + ", 0, 0) q;")) == 1


@pytest.mark.parametrize("data", [b"qubit q; \xff\xfe", b"\x80", b"OPENQASM 2.0;\nqreg \xc3\x28"])
def test_a_file_that_is_not_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "binary.qasm"
    path.write_bytes(data)
    with pytest.raises(QasmError, match=r"binary\.qasm: line \d+, column \d+: .*not UTF-8"):
        load_qasm(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(QasmError, match="cannot be read"):
        load_qasm(tmp_path)
    with pytest.raises(QasmError, match="cannot be read"):
        load_qasm(tmp_path / "absent.qasm")
    (tmp_path / "wrong.qasm").write_text("qubit q;\nh q;")
    with pytest.raises(QasmError, match=r"wrong\.qasm: line 2, column 1: found 'h'"):
        load_qasm(tmp_path / "wrong.qasm")
    with pytest.raises(QasmError, match="text: a str"):
        from_qasm(b"qubit q;")  # type: ignore[arg-type]


TOKENS = """OPENQASM 2.0 3.0 include "stdgates.inc" "qelib1.inc" qreg qubit creg bit gate opaque let
const input float angle int array features barrier q r a t x cx rx rz U gphase ctrl negctrl inv pow
@ ( ) [ ] { } , ; : = == -> + ++ - * / % ^ ** 0 1 2 3 0.5 1e3 1e400 pi sin sqrt measure if for
$0 // /* */ pragma @tn_qnn.weight "a" ' " \n""".split(" ")
STATEMENTS = [
    "qubit[2] q;", "qreg r[3];", "input float a;", "input array[float, 2] features;",
    "gate g(t) a, b { ctrl @ rx(t/2) a, b; inv @ pow(2) @ x a; }", "g(0.5) q[0], q[1];", "x q;",
    "let s = q[{0, 1}];", "rx(features[1]*a) q[0];", "pow(0.3) @ h q[1];", "const int n = 2;",
    "negctrl(2) @ rz(1.0/3) q[0], q[1], r[0];", "ctrl @ gphase(n) q[0];", "cx q, s;",
    'include "qelib1.inc";', "rzz(-pi**n) r[0], r[-1];",
]  # fmt: skip


def read_or_refuse(text: str) -> None:
    try:
        assert isinstance(from_qasm(text, max_qubits=50, max_gates=500), Circuit)
    except QasmError as error:
        assert POSITION.match(str(error)), error


@settings(max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=60), st.sampled_from(["", *HEADER.values()]))
def test_random_tokens(tokens: list[str], header: str) -> None:
    read_or_refuse(header + " ".join(tokens))


@settings(max_examples=300)
@given(st.data())
def test_programs_with_random_damage(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(STATEMENTS), max_size=12))
    words = re.findall(r"\w+|\S", " ".join(chosen))
    for _ in range(data.draw(st.integers(0, 3)) if words else 0):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(st.sampled_from(TOKENS) | st.sampled_from(words))
    read_or_refuse(HEADER[3].replace("qubit[4] q;", "") + " ".join(words))


@settings(max_examples=200)
@given(st.text())
@example("\ud800")
def test_random_text(text: str) -> None:
    read_or_refuse(text)


@given(st.binary())
def test_random_bytes(data: bytes) -> None:
    read_or_refuse(data.decode("latin-1"))
