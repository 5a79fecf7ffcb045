"""Observables from text, against the algebra of the Python interface."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn import I, X, Y, Z, projector
from tn_qnn.cli.observables import parse_observable
from tn_qnn.errors import CircuitError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Z62", Z(62)),
        ("X13*Y29*Z31", X(13) @ Y(29) @ Z(31)),
        ("X13@Y29", X(13) @ Y(29)),
        ("0.5*X0+Z1*Z2", 0.5 * X(0) + Z(1) @ Z(2)),
        (" - Z0 ", -Z(0)),
        ("-2e-3*Z0 - -.5*X1", -2e-3 * Z(0) + 0.5 * X(1)),
        ("2*Z0*3", 6 * Z(0)),
        ("I", I()),
        ("3", 3 * I()),
        ("X0*X0", I()),
        ("Z0-Z0", Z(0) - Z(0)),
        ("P(0=1, 3=0)", projector({0: 1, 3: 0})),
    ],
)
def test_reads_what_the_algebra_gives(text, expected):
    assert parse_observable(text) == expected


PAULIS = st.builds(lambda p, q: p(q), st.sampled_from([X, Y, Z]), st.integers(0, 40))
SUMS = st.lists(st.tuples(st.floats(-9, 9), st.sets(st.integers(0, 30), min_size=1)), min_size=1)


@given(SUMS, st.sampled_from("XYZ"))
def test_reads_what_it_prints(terms, axis):
    total = 0 * I()
    for coefficient, qubits in terms:
        term = coefficient * I()
        for q in qubits:
            term = term @ {"X": X, "Y": Y, "Z": Z}[axis](q)
        total = total + term
    # str() rounds to 12 digits: compare through it.
    if total.terms:
        assert str(parse_observable(str(total))) == str(total)


@given(st.text("XYZIP0189.eE+-*@()=, ", max_size=12))
def test_any_text_is_an_observable_or_a_plain_error(text):
    try:
        parse_observable(text)
    except CircuitError as error:
        assert str(error).startswith("observable:")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "Z", "Q0", "Z0Z1", "Z0*", "*Z0", "Z0**Z1", "Z0 Z1", "Z-1", "z0", "Z0+", "+",
        "Z" + "9" * 5000, "1e999*Z0", "1e200*1e200*Z0", "1e308*Z0+1e308*Z0", "nan*Z0", "(Z0)",
        "P()", "P(0)", "P(0=2)", "P(0=1,0=0)", "P(0=1)*Z0", "Z0;Z1", "Z٣", "__import__('os')",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(CircuitError, match=r"^observable: "):
        parse_observable(text)


def test_a_sum_of_thousands_of_terms_is_read():
    text = "+".join(f"{k}*Z{k}*Z{k + 1}" for k in range(1, 5000))
    assert len(parse_observable(text).terms) == 4999


def test_a_sum_without_end_is_refused():
    with pytest.raises(CircuitError, match="characters"):
        parse_observable("Z0+" * 400_000)
