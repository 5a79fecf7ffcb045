"""Tables, configurations, splits and baselines: what is read, and what is refused."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.cli.baselines import baseline_scores
from tn_qnn.cli.config import TrainConfig, make_config, read_config
from tn_qnn.cli.data import Samples, load_dataset, split
from tn_qnn.cli.options import memory
from tn_qnn.cli.tables import read_table
from tn_qnn.errors import InputError
from tn_qnn.train.updates import UPDATES

TABLE = "a,b,kind\n1,2.5,x\n-3,4e2,y\n0,0,x\n1,1,y\n"


@pytest.fixture
def table(tmp_path):
    """Write text to a CSV file and return its path."""

    def write(text: str | bytes) -> str:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


# --- tables ---------------------------------------------------------------------------------


def test_columns_are_found_by_name(table):
    found = read_table(table("\ufeff a , b ,kind\r\n1,2.5,x\r\n\r\n-3,4e2,y\r\n"))
    assert found.columns == ("a", "b", "kind")
    assert found.numbers(["b", "a"]).tolist() == [[2.5, 1.0], [400.0, -3.0]]
    assert found.texts("kind") == ["x", "y"]
    assert found.lines == (2, 4)


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text(min_size=1)),
        min_size=1,
    )
)
def test_what_python_writes_is_read(tmp_path_factory, rows):
    rows = [(x, t.strip()) for x, t in rows if t.strip() and "\0" not in t and t.isprintable()]
    if not rows:
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("number", "text, of any kind"), *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(text.getvalue().encode())
    found = read_table(str(path))
    assert found.numbers(["number"])[:, 0].tolist() == [x for x, _ in rows]
    assert found.texts("text, of any kind") == [t for _, t in rows]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("\n\n", "no rows"),
        ("a,b\n1\n", "line 2 has 1 cells, the header 2"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells"),
        ("a,a\n1,2\n", "two columns are named 'a'"),
        ("a,\n1,2\n", "column 2 has no name"),
        ("1,2\n3,4\n", "first line holds numbers"),
        ("a;b\n1;2\n", "parted by ';'"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a,b\n1,\x00\n", "finite number"),
        ('a,b\n"1,2\n', "no CSV"),
        ("a\n" + "9" * 200_000 + "\n", "no CSV"),
        ("a,b\n1,\n", "line 2, column 'b' is empty"),
        ("a,b\n1,2\n3,abc\n", "line 3, column 'b': 'abc' is not a finite number"),
        ("a,b\n1,nan\n", "'nan' is not a finite number"),
        ("a,b\n1,-inf\n", "'-inf'"),
        ("a,b\n1,1e999\n", "'1e999'"),
        ("a,b\n1,1_000\n", "'1_000'"),
        ("a,c\n1,2\n", "no column 'b'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_table_that_is_none(table, text, said):
    path = table(text)
    with pytest.raises(InputError) as caught:
        read_table(path).numbers(["a", "b"])
    assert said in str(caught.value) and path in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "x" / "y.csv"):
        with pytest.raises(InputError, match="cannot be read"):
            read_table(str(path))


# --- configurations -------------------------------------------------------------------------


def test_a_configuration_survives_its_file(tmp_path):
    config = TrainConfig(
        data=str(tmp_path / 'quo"te\\ \u00fc\U0001f600\x7f\t.csv'),
        target="t=1 #", task="regression", ignore=("id", "na me"), ansatz="brickwork", layers=3,
        encoding="iqp", steps=7, batch_size=3, directions=2, learning_rate=0.01, update="sgd",
        validate_every=9, seed=5, test_share=0.5, validation_share=0.25, dtype="float64",
        backend="einsum", search="auto", memory=4e9, threads=1,
    )  # fmt: skip
    config.save(tmp_path / "c.toml")
    assert read_config(tmp_path / "c.toml") == config
    TrainConfig("digits").save(tmp_path / "d.toml")
    assert read_config(tmp_path / "d.toml") == TrainConfig("digits")


@pytest.mark.parametrize("name", UPDATES)
def test_the_update_may_be_chosen(tmp_path, name):
    (tmp_path / "c.toml").write_text(f'data = "digits"\nupdate = "{name}"\n')
    assert make_config(str(tmp_path / "c.toml"), {}).update == name
    (tmp_path / "c.toml").write_text('data = "digits"\nupdate = "lbfgs"\n')
    with pytest.raises(InputError, match=f"update: invalid choice: 'lbfgs'.*{name}"):
        make_config(str(tmp_path / "c.toml"), {})


def test_the_command_line_overrides_the_file(tmp_path):
    (tmp_path / "c.toml").write_text('data = "t.csv"\ntarget = "y"\nsteps = 5\nbatch_size = 8\n')
    config = make_config(str(tmp_path / "c.toml"), {"steps": 9, "out": "ignored"})
    assert (config.steps, config.batch_size, config.target) == (9, 8, "y")
    assert config.data == str(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "data"),
        ("data = 3", "data"),
        ('data = "digits"\nsteps = 0', "steps"),
        ('data = "digits"\nsteps = 1.5', "steps"),
        ('data = "digits"\nsteps = true', "steps"),
        ('data = "digits"\nstep = 5', "--step"),
        ('data = "digits"\ndtype = "int8"', "dtype"),
        ('data = "digits"\ndebug = 1', "debug"),
        ('data = "digits"\ntarget = "y"', "--target"),
        ('data = "t.csv"', "--target"),
        ('data = "digits"\n[steps]\na = 1', "steps"),
        ("data = ", "TOML"),
        ("\x00", "TOML"),
        ("a = " + "[" * 100_000, "TOML"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_configuration_that_is_none(tmp_path, text, said):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        make_config(str(tmp_path / "c.toml"), {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("4GB", 4e9), ("0.25", 0.25), ("2e9", 2e9), ("512MiB", 2**29), ("3 k", 3e3), ("1tib", 2**40)],
)
def test_sizes_of_memory(text, value):
    assert memory(text) == value


# --- data sets ------------------------------------------------------------------------------


def from_csv(path: str, target: str = "kind", **options: object):
    return load_dataset(TrainConfig(path, target=target, **options))


def test_a_table_becomes_features_and_labels(table):
    found = from_csv(table(TABLE), ignore=("b",))
    assert (found.features, found.task, found.name) == (("a",), "classification", "table")
    assert found.samples.X[:, 0].tolist() == [1, -3, 0, 1]
    assert found.samples.y.tolist() == ["x", "y", "x", "y"]


@pytest.mark.parametrize(
    ("cells", "task", "kind"),
    [
        (["0", "1"] * 5, "classification", "i"),
        (["yes", "no"] * 5, "classification", "U"),
        (["1.0", "2.0"] * 5, "classification", "U"),
        (["0.5", "2"] * 5, "regression", "f"),
        ([str(k) for k in range(30)], "regression", "f"),
        (["9" * 30, "8"] * 5, "classification", "U"),
    ],
)
def test_the_task_follows_the_target(table, cells, task, kind):
    rows = "".join(f"{k},{cell}\n" for k, cell in enumerate(cells))
    found = from_csv(table("x,kind\n" + rows))
    assert (found.task, found.samples.y.dtype.kind) == (task, kind)


def test_the_task_can_be_said(table):
    text = "x,kind\n1,0\n2,1\n3,0\n4,1\n"
    assert from_csv(table(text), task="regression").samples.y.dtype == float
    with pytest.raises(InputError, match="not a finite number"):
        from_csv(table(TABLE), task="regression")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (TABLE, {"target": "none"}, "no column 'none'; it has 'a', 'b', 'kind'"),
        (TABLE, {"ignore": ("none",)}, "no column 'none'"),
        (TABLE, {"ignore": ("a", "b")}, "no column but the target"),
        ("a,kind\n1,x\n2,x\n", {}, "one class only, 'x'"),
        ("a,kind\n1,x\n2,x\n3,y\n", {}, "'y' have fewer than 2 rows"),
        ("a,kind\n1,x\n2,\n", {}, "line 3, column 'kind' is empty"),
        (TABLE + "red,1,y\n", {}, "line 6, column 'a': 'red'"),
    ],
)
def test_a_table_that_cannot_be_learnt(table, text, options, said):
    with pytest.raises(InputError) as caught:
        from_csv(table(text), **options)
    assert said in str(caught.value)


def test_the_split_is_stratified_disjoint_and_repeats():
    config = TrainConfig("digits", seed=3)
    dataset = load_dataset(config)
    parts = split(dataset, config)
    sizes = [len(parts.train), len(parts.validation), len(parts.test)]
    assert sizes == [1212, 135, 450]
    shares = [np.bincount(p.y) / len(p) for p in (parts.train, parts.validation, parts.test)]
    assert np.ptp(shares, axis=0).max() < 0.02
    rows = np.concatenate([parts.train.X, parts.validation.X, parts.test.X])
    assert np.array_equal(np.sort(rows, axis=0), np.sort(dataset.samples.X, axis=0))
    again = split(dataset, config)
    other = split(dataset, TrainConfig("digits", seed=4))
    assert np.array_equal(again.test.X, parts.test.X)
    assert not np.array_equal(other.test.X, parts.test.X)


def test_too_few_rows_to_split(table):
    config = TrainConfig(table(TABLE), target="kind", test_share=0.1)
    with pytest.raises(InputError, match="test-share"):
        split(load_dataset(config), config)


def test_baselines_of_a_regression():
    x = np.linspace(0, 1, 9)[:, None]
    line = Samples(x, 3 * x[:, 0] - 1)
    scores = baseline_scores("regression", line, line)
    assert scores == pytest.approx({"linear regression": 1.0, "mean": 0.0})
