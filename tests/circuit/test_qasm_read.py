"""What OpenQASM text means: registers, expressions, definitions, inputs."""

import math
from pathlib import Path

import numpy as np
import pytest

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.qasm import from_qasm, load_qasm
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import InputError

from .qasm_reference import same_up_to_phase, unitary

HEADER = {
    2: 'OPENQASM 2.0;\ninclude "qelib1.inc";\n',
    3: 'OPENQASM 3.0;\ninclude "stdgates.inc";\n',
}


def read2(text: str) -> Circuit:
    return from_qasm(HEADER[2] + text)


def read3(text: str) -> Circuit:
    return from_qasm(HEADER[3] + text)


@pytest.mark.parametrize("header", ["OPENQASM 3;", "OPENQASM 3.0;", "OPENQASM 3.1;", ""])
def test_headers_of_version_3_make_the_header_optional(header: str) -> None:
    text = header + ' include "stdgates.inc"; qubit q; h q;'
    assert from_qasm(text) == Circuit(1).h(0)


def test_comments_pragmas_annotations_barriers_and_bits_leave_no_trace() -> None:
    text = """
    // a comment ; h q;
    /* another
       one */
    pragma vendor.setting $%&
    #pragma old style
    qubit[2] q; bit[2] c; creg d[3]; bit e;
    @vendor.note anything `at all`
    h q[0]; barrier q; barrier; barrier q[0], q[1]; nop q;
    """
    assert read3(text) == Circuit(2).h(0)


def test_registers_are_numbered_in_the_order_of_declaration() -> None:
    text = "qreg a[2]; creg c[2]; qreg b[3]; x b[2]; y a[1]; cx a[0], b[0];"
    assert read2(text) == Circuit(5).x(4).y(1).cx(0, 2)


@pytest.mark.parametrize("version", [2, 3])
def test_broadcast_runs_over_registers_and_repeats_single_qubits(version: int) -> None:
    text = HEADER[version] + "qreg a[2]; qreg b[2]; qreg s[1]; cx a, b; cx a[1], b; h s;"
    assert from_qasm(text) == Circuit(5).cx(0, 2).cx(1, 3).cx(1, 2).cx(1, 3).h(4)


@pytest.mark.parametrize(
    ("operand", "qubits"),
    [
        ("q", [0, 1, 2, 3, 4, 5]),
        ("q[0:2]", [0, 1, 2]),
        ("q[1:2:5]", [1, 3, 5]),
        ("q[-2:]", [4, 5]),
        ("q[:1]", [0, 1]),
        ("q[5:-2:1]", [5, 3, 1]),
        ("q[:-1:]", [5, 4, 3, 2, 1, 0]),
        ("q[{0, 2, -1}]", [0, 2, 5]),
        ("q[-1]", [5]),
        ("q[2:5][1]", [3]),
        ("pair", [4, 1]),
        ("pair[0]", [4]),
        ("joined", [4, 1, 0]),
        ("part[-1]", [3]),
        ("q[N - 1]", [2]),
    ],
)
def test_indices_slices_sets_and_aliases(operand: str, qubits: list[int]) -> None:
    text = (
        "const int N = 3; qubit[6] q; let pair = q[{4, 1}]; let joined = pair ++ q[0];"
        f" let part = q[2:3]; x {operand};"
    )
    expected = Circuit(6)
    for q in qubits:
        expected.x(q)
    assert read3(text) == expected


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("pi/2", math.pi / 2),
        ("-pi^2", -(math.pi**2)),
        ("2^3^0.5", 2 ** (3**0.5)),
        ("1/2", 0.5),
        ("3 - 2 - 1.5", -0.5),
        ("2*3/4", 1.5),
        ("-(1+2)*.5e1", -15.0),
        ("sin(pi/6)+cos(0)+tan(0.1)+exp(1)+ln(2)+sqrt(2)",
         0.5 + 1 + math.tan(0.1) + math.e + math.log(2) + math.sqrt(2)),
        ("asin(0.1) + acos(0.2) + atan(0.3)", math.asin(0.1) + math.acos(0.2) + math.atan(0.3)),
        ("+-+-2", 2.0),
    ],
)  # fmt: skip
def test_expressions_of_version_2(expression: str, value: float) -> None:
    circuit = read2(f"qreg q[1]; rx({expression}) q[0];")
    assert circuit.operations[0].params[0].constant_value == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("π/2 + τ - tau + ℇ - euler", math.pi / 2),
        ("-2**2", -4.0),
        ("2**-1", 0.5),
        ("2**3**2", 512.0),
        ("4/2", 2.0),
        ("1/2.0", 0.5),
        ("7 % 4 - 7.5 % 2", 1.5),
        ("-7 % 4", -3.0),
        ("mod(7, 4) + pow(2, 3)", 11.0),
        ("arcsin(0.1) + arccos(0.2) + arctan(0.3)",
         math.asin(0.1) + math.acos(0.2) + math.atan(0.3)),
        ("floor(1.5) + ceiling(1.5) + log(2)", 3 + math.log(2)),
        ("0x1F + 0b11 + 0o17 + 1_000", 31 + 3 + 15 + 1000.0),
        ("1.5e-3 + 2e2 + 007", 207.0015),
        ("float[64](3) / int[8](2.7) + true", 2.5),
        ("half * N", 1.5),
    ],
)  # fmt: skip
def test_expressions_of_version_3(expression: str, value: float) -> None:
    text = "const float[64] half = 0.5; const uint[8] N = 3; const bool flag = true;"
    circuit = read3(f"{text} qubit q; rx({expression}) q;")
    assert circuit.operations[0].params[0].constant_value == pytest.approx(value, rel=1e-15)


def test_inputs_become_weights_and_features() -> None:
    text = """
    input float[64] a; input angle theta; input array[float[64], 5] features;
    input array[angle, 2] u;
    @tn_qnn.weight "a name, with spaces"
    input float n;
    qubit q; rx(2*a + theta*features[3]/4 - 1) q; ry(-u[1]**2) q; rz(n) q;
    """
    expected = Circuit(1).rx(2 * weight("a") + weight("theta") * feature(3) / 4 - 1, 0)
    expected.ry(-weight("u[1]") * weight("u[1]"), 0).rz(weight("a name, with spaces"), 0)
    assert read3(text) == expected


def test_an_input_goes_through_definitions_and_modifiers() -> None:
    text = """
    input float a; qubit[2] q;
    gate twist(t, s) c { rx(t/2 + s) c; inv @ rz(t) c; pow(3) @ p(s) c; }
    inv @ twist(a, 2*a) q[1]; ctrl @ rx(a) q[0], q[1];
    """
    a = weight("a")
    expected = Circuit(2).p(-6 * a, 1).rz(a, 1).rx(-2.5 * a, 1).crx(a, 0, 1)
    assert read3(text) == expected


def test_gates_of_gates_with_shadowed_names() -> None:
    text = """
    const float t = 9.0;
    gate inner(t) a, b { cx a, b; rz(t) b; }
    gate outer(s, t) b, a { inner(s - t) a, b; barrier a, b; inner(t) b, a; ; }
    qreg q[3];
    outer(1, 0.25) q[2], q[0];
    """
    assert read3(text) == Circuit(3).cx(0, 2).rz(0.75, 2).cx(2, 0).rz(0.25, 0)


def test_a_gate_of_the_program_replaces_one_of_the_library() -> None:
    assert read2("gate h a { x a; } qreg q[1]; h q[0];") == Circuit(1).x(0)
    late = 'gate h a { U(0,0,pi) a; } include "qelib1.inc"; qreg q[1]; h q[0];'
    assert from_qasm("OPENQASM 2.0;" + late) == Circuit(1).u3(0, 0, math.pi, 0)


def test_a_definition_that_spells_out_a_known_gate_is_recognised() -> None:
    body = "gate rzz(t) a, b { cx a, b; %s b; cx a, b; } qreg q[2]; rzz(0.5) q[0], q[1];"
    assert read2(body % "u1(t)") == Circuit(2).rzz(0.5, 0, 1)  # equal up to the phase
    assert read3(body % "rz(t)") == Circuit(2).rzz(0.5, 0, 1)  # equal
    assert len(read3(body % "p(t)")) == 3  # not equal: the phase could matter under a control
    assert len(read3(body % "rz(sqrt(t))")) == 3  # not defined at every angle


@pytest.mark.parametrize("version", [2, 3])
def test_built_in_gates_need_no_include(version: int) -> None:
    text = f"OPENQASM {version}.0; qreg q[1]; U(0.1, 0.2, 0.3) q[0];"
    assert from_qasm(text) == Circuit(1).u3(0.1, 0.2, 0.3, 0)


def test_qelib1_by_its_definitions() -> None:
    """Gates of qelib1 against the products that the file spells out."""
    cases = {
        "cu3(0.3, 0.5, 0.7) q[0], q[1]": "u1(0.6) q[0]; u1(0.1) q[1]; cx q[0], q[1];"
        " u3(-0.15, 0, -0.6) q[1]; cx q[0], q[1]; u3(0.15, 0.5, 0) q[1]",
        "crz(0.4) q[0], q[1]": "u1(0.2) q[1]; cx q[0], q[1]; u1(-0.2) q[1]; cx q[0], q[1]",
        "rxx(0.4) q[0], q[1]": "u3(pi/2, 0.4, 0) q[0]; h q[1]; cx q[0], q[1]; u1(-0.4) q[1];"
        " cx q[0], q[1]; h q[1]; u2(-pi, pi-0.4) q[0]",
        "ch q[0], q[1]": "h q[1]; sdg q[1]; cx q[0], q[1]; h q[1]; t q[1]; cx q[0], q[1];"
        " t q[1]; h q[1]; s q[1]; x q[1]; s q[0]",
        "cswap q[0], q[1], q[2]": "cx q[2], q[1]; ccx q[0], q[1], q[2]; cx q[2], q[1]",
        "rccx q[0], q[1], q[2]": "u2(0,pi) q[2]; u1(pi/4) q[2]; cx q[1], q[2]; u1(-pi/4) q[2];"
        " cx q[0], q[2]; u1(pi/4) q[2]; cx q[1], q[2]; u1(-pi/4) q[2]; u2(0,pi) q[2]",
    }
    for gate, product in cases.items():
        short, long = read2(f"qreg q[3]; {gate};"), read2(f"qreg q[3]; {product};")
        assert len(short) == 1
        assert same_up_to_phase(unitary(short), unitary(long)), gate


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bell.qasm"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER[2] + "qreg q[2]; h q[0]; cx q[0],q[1];").encode())
    assert load_qasm(path) == Circuit(2).h(0).cx(0, 1)
    assert load_qasm(str(path), max_qubits=2, max_gates=2) == Circuit(2).h(0).cx(0, 1)


@pytest.mark.parametrize("limit", [0, -1, 2.0, True, None])
def test_limits_must_be_positive_integers(limit: object) -> None:
    with pytest.raises(InputError, match="max_gates"):
        from_qasm("qubit q;", max_gates=limit)  # type: ignore[arg-type]


def test_floats_keep_every_bit() -> None:
    for value in np.random.default_rng(0).normal(size=20).tolist():
        params = read2(f"qreg q[1]; rx({value!r}) q[0];").operations[0].params
        assert params[0].constant_value == value
