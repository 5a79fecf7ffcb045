"""Model files: exact round trips; damaged, foreign and hostile ones fail and name the place."""

import json
import math
import zipfile
from contextlib import contextmanager

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import tn_qnn as tq
from tn_qnn.circuit.slots import Expr, Monomial
from tn_qnn.errors import BackendError, CheckpointError, InputError
from tn_qnn.models import model_file
from tn_qnn.models.model_file import load_model, read_model, save_model
from tn_qnn.models.serialise import (
    circuits_from_json,
    circuits_to_json,
    dumps,
    model_signature,
    observables_from_json,
    observables_to_json,
)

from ..emulation.cupy_standin import install, make_cupy

NAMES = ["a", "b.0", "weird name \u00e9[1"]
NUMBERS = st.floats(-1e6, 1e6).filter(lambda x: x != 0)


def through_json(value):
    return json.loads(dumps(value))


def circuit_again(*circuits):
    return circuits_from_json(through_json(circuits_to_json(circuits)), "file")


@st.composite
def angles(draw):
    total = Expr()
    for _ in range(draw(st.integers(0, 3))):
        term = tq.weight("a") * 0 + draw(NUMBERS)
        for _ in range(draw(st.integers(0, 2))):
            term = term * tq.feature(draw(st.integers(0, 3)))
        for _ in range(draw(st.integers(0, 2))):
            term = term * tq.weight(draw(st.sampled_from(NAMES)))
        total = total + term
    return total


@st.composite
def circuits(draw, num_qubits=5):
    circuit = tq.Circuit(num_qubits)
    kinds = [*sorted(tq.GATES), "mcphase", "unitary", "orthogonal", "block"]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=8)):
        order = draw(st.permutations(range(num_qubits)))
        if kind in tq.GATES:
            gate = tq.GATES[kind]
            params = [draw(angles()) for _ in gate.parameters]
            circuit.append(kind, order[: gate.num_qubits], params)
        elif kind == "mcphase":
            circuit.mcphase(draw(angles()), *order[: draw(st.integers(1, num_qubits))])
        elif kind == "unitary":
            k = draw(st.integers(1, 2))
            rng = np.random.default_rng(draw(st.integers(0, 9)))
            matrix = rng.normal(size=(2**k, 2**k)) + 1j * rng.normal(size=(2**k, 2**k))
            circuit.unitary(np.linalg.qr(matrix)[0], order[:k])
        else:
            make = tq.orthogonal if kind == "orthogonal" else tq.unitary
            chart = draw(st.sampled_from(["exponential", "entries"]))
            circuit.block(make(f"U{len(circuit)}", chart), order[: draw(st.integers(1, 3))])
    return circuit


@given(st.lists(circuits(), min_size=1, max_size=3))
def test_circuits_come_back_the_same(found):
    assert circuit_again(*found) == tuple(found)


def test_bound_blocks_of_four_qubits_come_back_the_same():
    circuit = tq.Circuit(4).block(tq.unitary("U"), [2, 0, 3, 1])
    bound = circuit.bind(dict.fromkeys(circuit.weights, 0.1))
    assert bound.operations[0].gate == "unitary"
    assert circuit_again(bound) == (bound,)


def test_the_sign_of_zero_is_kept():
    matrix = np.array([[1, complex(-0.0, -0.0)], [0, 1]])
    circuit = tq.Circuit(1).unitary(matrix, [0])
    assert circuit_again(circuit)[0].operations[0].data == matrix.tobytes()


PAULIS = st.dictionaries(st.integers(0, 4), st.sampled_from("XYZ"), max_size=3)


@st.composite
def observables(draw):
    match draw(st.sampled_from(["pauli", "projector", "density"])):
        case "pauli":
            total = 0.0 * tq.I()
            for string in draw(st.lists(PAULIS, max_size=3)):
                term = draw(NUMBERS) * tq.I()
                for q, axis in string.items():
                    term = term @ getattr(tq, axis)(q)
                total = total + term
            return total
        case "projector":
            bits = st.dictionaries(st.integers(0, 4), st.integers(0, 1), min_size=1, max_size=4)
            return tq.projector(draw(bits))
    return tq.density_matrix(draw(st.permutations(range(5)))[: draw(st.integers(1, 3))])


@given(st.lists(observables(), min_size=1, max_size=4))
def test_observables_come_back_the_same(found):
    again = observables_from_json(through_json(observables_to_json(found)), "file")
    assert again == tuple(found)


def test_the_file_of_the_demos_circuits_is_short():
    found = [tq.ansatz.tree(64, prefix=f"class{k}") for k in range(10)]
    assert sum(len(c) for c in found) == 10 * 63 * 8
    assert len(dumps(circuits_to_json(found))) < 60 * 10 * 63 * 8


def test_ten_thousand_qubits():
    circuit = tq.ansatz.brickwork(10_000, 4)
    readouts = [tq.Z(q) for q in range(10_000)]
    assert circuit_again(circuit) == (circuit,)
    assert observables_from_json(observables_to_json(readouts), "file") == tuple(readouts)
    assert len(dumps(circuits_to_json([circuit]))) < 4_000_000


def small(**options):
    circuit = tq.Circuit(3).ry(tq.feature(0) * 1.5, 0).h(1).ry(tq.feature(1), 2)
    circuit.block(tq.orthogonal("U"), [0, 1]).cx(1, 2).rz(tq.weight("a") * tq.feature(1), 1)
    circuit.u3(0.1, tq.weight("b") + 0.5, tq.weight("a"), 2)
    return tq.QNN(circuit, [tq.X(1) @ tq.Z(2), tq.Y(2) - 0.5 * tq.X(0)], **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cpu", "einsum"])
def test_outputs_of_a_loaded_model_have_the_same_bits(tmp_path, dtype, backend):
    model = small(dtype=dtype, backend=backend, threads=1, memory=1e9, sets=4, samples=32)
    weights = np.random.default_rng(0).normal(size=model.num_weights)
    X = np.random.default_rng(1).normal(size=(7, 2))
    save_model(tmp_path, model, weights)
    again, same = load_model(tmp_path)
    assert same.tobytes() == weights.tobytes()
    assert again(same, X).tobytes() == model(weights, X).tobytes()
    assert (again.sets, again.samples, again.dtype, again.budget) == (4, 32, dtype, model.budget)
    assert again.weight_names == model.weight_names


def test_weights_may_be_a_mapping_and_are_checked(tmp_path):
    model = small()
    values = {name: 0.1 * k for k, name in enumerate(model.weight_names)}
    save_model(tmp_path, model, values)
    assert load_model(tmp_path)[1].tolist() == list(values.values())
    for wrong in ([1.0], np.zeros((2, 8)), {"a": 1.0}, [math.nan] * 8):
        with pytest.raises(InputError, match="weights"):
            save_model(tmp_path, model, wrong)
    assert load_model(tmp_path)[1].tolist() == list(values.values())


def test_an_older_model_is_replaced_and_nothing_is_left_over(tmp_path):
    for value in (1.0, 2.0):
        save_model(tmp_path, small(), np.full(8, value))
    assert len(list(tmp_path.iterdir())) == 2
    assert load_model(tmp_path)[1].tolist() == [2.0] * 8


def test_a_write_that_fails_leaves_the_old_model(tmp_path, monkeypatch):
    save_model(tmp_path, small(), np.ones(8))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file, "write_atomic", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_model(tmp_path, small(), np.zeros(8))
    assert load_model(tmp_path)[1].tolist() == [1.0] * 8


def test_signature_depends_on_all_but_weights_and_options():
    base = model_signature(small())
    assert base == model_signature(small(threads=1, backend="einsum", samples=3))
    others = [small(dtype="float64"), tq.QNN(small().circuits, [tq.Z(0)])]
    others.append(tq.QNN(tq.Circuit(3).ry(tq.weight("a"), 0), small().observables))
    assert len({base, *map(model_signature, others)}) == 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The texts of a model file: its JSON value, and its npz file's name and bytes."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, small(), np.arange(8.0))
    head = json.loads((folder / "model.json").read_text())
    return head, (folder / head["file"]).read_bytes()


def written(folder, head, data=None, name=None):
    (folder / "model.json").write_text(head if isinstance(head, str) else json.dumps(head))
    if data is not None:
        (folder / (name or json.loads(json.dumps(head))["file"])).write_bytes(data)
    return folder


def test_the_untouched_file_can_be_read(tmp_path, saved):
    assert load_model(written(tmp_path, *saved))[1].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable JSON"),
        ("{", "not a readable JSON"),
        ("[" * 100_000, "not a readable JSON"),
        ("1" * 10_000, "not a readable JSON"),
        ("\x00\xff", "not a"),
        ("[]", "not a tn_qnn model"),
        ('{"format": "tn_qnn checkpoint"}', "not a tn_qnn model"),
        ('{"format": "tn_qnn model", "version": 2}', "version 2, expected 1"),
        ('{"format": "tn_qnn model", "version": 1}', "'kind' is missing"),
    ],
)
def test_what_is_no_model_file_is_refused(tmp_path, text, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(written(tmp_path, text))


def test_no_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no readable model file"):
        load_model(tmp_path)


def op(place, value):
    """A change of the operation at ``place``."""
    return lambda head: head["model"]["circuits"]["circuits"][0][1].__setitem__(place, value)


def part(*path, value):
    def change(head):
        for key in path[:-1]:
            head = head[key]
        head[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (op(0, ["ry", [0], 0.5]), "circuits are not those"),
        (op(0, ["ry", [3], 0.5]), r"operations\[0\].*out of range"),
        (op(1, ["h", [True]]), r"operations\[1\].*whole number"),
        (op(1, ["h", [1.0]]), r"operations\[1\].*whole number"),
        (op(1, ["os.system", [1]]), "unknown gate"),
        (op(1, ["ry", [1]]), "expected 1 angles"),
        (op(1, ["ry", [1], math.inf]), "finite"),
        (op(1, ["ry", [1], math.nan]), "finite|NaN"),
        (op(1, ["ry", [1], 10**400]), "finite"),
        (op(1, ["ry", [1], [[1.0, [-1], []]]]), "whole number"),
        (op(1, ["ry", [1], [[1.0, [], [99]]]]), "whole number"),
        (op(1, ["ry", [1], [[1.0, [0] * 5, []]]]), "degree"),
        (op(1, ["ry", [1], [[1.0 + k, [k], []] for k in range(65)]]), "64 terms"),
        (op(1, ["ry", [1], [1.0]]), "array expected"),
        (op(1, ["cx", [1, 1]]), "repeated"),
        (op(1, ["unitary", [1], [1, 0, 0, 2], [0] * 4]), "not unitary"),
        (op(1, ["unitary", [1], [1, 0, 0], [0] * 4]), "4 entries expected"),
        (op(1, ["unitary", list(range(30)), [1], [0]]), "1 to 6 qubits"),
        (op(1, ["block", [1], 3, "orthogonal"]), "block name"),
        (op(1, ["block", [1], "V", "magic"]), "one of orthogonal, unitary"),
        (op(1, ["block", [1], "V", "unitary", "polar"]), "chart: 'exponential' or 'entries'"),
        (op(1, ["block", [1], "V", "unitary", "entries", 1]), "4 entries expected, not 6"),
        (op(1, "h"), "array expected"),
        (op(1, []), "angles"),
        (part("model", "circuits", "circuits", 0, 0, value=10**9), "whole number"),
        (part("model", "circuits", "circuits", value=[]), "names are not those"),
        (part("model", "circuits", "weights", value=["a"]), "whole number|names"),
        (part("model", "observables", 0, value=["pauli", [[1.0, 1.0, []]]]), "not Hermitian"),
        (part("model", "observables", 0, value=["pauli", [[1, 0, [[0, "Q"]]]]]), "one of X"),
        (part("model", "observables", 0, value=["projector", [[0, 2]]]), "whole number"),
        (part("model", "observables", 0, value=["density_matrix", [0, 0]]), "different qubits"),
        (part("model", "observables", 0, value=["pauli", [[1, 0, [[7, "Z"]]]]]), "out of range"),
        (part("model", "options", "dtype", value="float16"), "dtype"),
        (part("model", "options", "backend", value="gpu9"), "backend: one of auto, cuda, cpu"),
        (part("model", "options", "memory", value=-1), "memory"),
        (part("model", "options", "threads", value="all"), "whole number"),
        (part("kind", value="ensemble"), "one of qnn"),
        (part("step", value=-1), "step"),
        (part("signature", value="0"), "circuits are not those"),
        (part("digest", value="0"), "damaged"),
        (part("arrays", value={}), "larger than the model|arrays that"),
        (part("arrays", value={"weights": 7}), "arrays that"),
        (part("file", value="/etc/passwd"), "unreadable|not a readable"),
        (part("facts", value=[]), "object expected"),
    ],
)
def test_a_spoiled_value_is_named(tmp_path, saved, change, message):
    head = json.loads(json.dumps(saved[0]))
    change(head)
    with pytest.raises(CheckpointError, match=message):
        load_model(written(tmp_path, head, saved[1], saved[0]["file"]))


def leaves(value, path=()):
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in pairs:
            yield path
            yield from leaves(entry, (*path, key))
    else:
        yield path


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=3),
    st.just([]), st.just({}), st.just([[[]]]),
)  # fmt: skip


@settings(max_examples=150)
@given(st.data())
def test_any_value_in_the_place_of_any_other_is_refused_or_harmless(tmp_path_factory, saved, data):
    head = json.loads(json.dumps(saved[0]))
    path = data.draw(st.sampled_from(sorted(set(leaves(head)) - {()}, key=str)))
    part(*path, value=data.draw(JUNK))(head)
    folder = written(tmp_path_factory.mktemp("junk"), head, saved[1], saved[0]["file"])
    try:
        found = read_model(folder)
    except CheckpointError:
        return
    # What is neither signed nor checked against another value: options and the step.
    assert model_signature(found.model) == saved[0]["signature"]
    assert path[0] in ("model", "step", "facts") or head == saved[0]


@settings(max_examples=60)
@given(st.data())
def test_damaged_arrays_are_refused(tmp_path_factory, saved, data):
    head, content = saved
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip"]))
    spoiled = bytearray(content)
    spoiled[place] ^= 0x55
    folder = written(
        tmp_path_factory.mktemp("arrays"), head, content[:place] if kind == "cut" else spoiled
    )
    try:
        weights = load_model(folder)[1]
    except CheckpointError:
        return
    assert kind == "flip" and weights.tolist() == list(range(8))  # a byte that nothing reads


@pytest.mark.parametrize("shape", ["(10000000000000,)", "(8,)", "(2, 4)", "(-8,)"])
@pytest.mark.parametrize("kind", ["<f8", "|O", "<f4"])
def test_hostile_arrays_are_refused(tmp_path, saved, shape, kind):
    head, _ = saved
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.encode() + bytes(64)
    with zipfile.ZipFile(tmp_path / head["file"], "w") as archive:
        archive.writestr("weights.npy", data)
    with pytest.raises(CheckpointError):
        load_model(written(tmp_path, head))


def test_a_bomb_is_not_unpacked(tmp_path, saved):
    head, _ = saved
    with zipfile.ZipFile(tmp_path / head["file"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.npy", bytes(10**8))
    with pytest.raises(CheckpointError, match="larger than the model"):
        load_model(written(tmp_path, head))


def test_a_model_without_weights_needs_a_checkpoint(tmp_path):
    save_model(tmp_path, small())
    with pytest.raises(CheckpointError, match="no weights"):
        load_model(tmp_path)


def test_a_trainers_checkpoint_beside_the_model_gives_the_weights(tmp_path):
    model = small()
    X = np.random.default_rng(1).normal(size=(9, 2))
    save_model(tmp_path, model)
    trainer = tq.Trainer(model, "mse", seed=1)
    result = trainer.fit(X, np.zeros((9, 2)), steps=4, batch_size=4, checkpoint=tmp_path)
    assert load_model(tmp_path)[1].tobytes() == result.weights.tobytes()
    other = tq.QNN(model.circuits, model.observables, dtype="float64")
    save_model(tmp_path, other)
    with pytest.raises(CheckpointError, match="of another model"):
        load_model(tmp_path)


def test_monomials_in_any_order_are_the_same_angle():
    value = {
        "weights": ["a", "b"],
        "circuits": [[1, [["ry", [0], [[2, [1, 0], []], [1, [], [0, 1]]]]]]],
    }
    (circuit,) = circuits_from_json(value, "file")
    expected = 2 * tq.feature(0) * tq.feature(1) + tq.weight("a") * tq.weight("b")
    assert circuit.operations[0].params == (expected,)
    assert Monomial((0, 1), ()) in dict(expected.terms)


# --- machines with a GPU and without --------------------------------------------------------


@contextmanager
def machine(devices=0):
    """A machine with that many emulated GPUs, whatever this one has."""
    with pytest.MonkeyPatch.context() as patch:
        cupy = make_cupy(devices=devices)
        install(cupy, patch.setitem)
        yield cupy


def test_a_model_of_a_machine_with_gpus_loads_where_there_is_none(tmp_path):
    weights, X = np.linspace(0, 1, 8), np.random.default_rng(1).normal(size=(7, 2))
    with machine(devices=2) as cupy:
        model = small(devices=[1, 0])
        assert model.backend.name == "cuda"
        save_model(tmp_path, model, cupy.asarray(weights))
        assert load_model(tmp_path)[0].backend.devices == (0,)
        assert load_model(tmp_path, devices=[1])[0].backend.devices == (1,)
    with machine():
        again, same = load_model(tmp_path)
        assert (again.requested_backend, again.backend.name) == ("auto", "cpu")
        assert same.tobytes() == weights.tobytes()
        assert again(same, X).tobytes() == small(backend="cpu")(weights, X).tobytes()


def test_a_backend_that_this_machine_lacks_is_an_error_with_a_way_out(tmp_path):
    with machine(devices=1):
        save_model(tmp_path, small(backend="cuda"), np.ones(8))
    with machine():
        with pytest.raises(BackendError, match=r"saved with backend='cuda'.*finds no CUDA device"):
            load_model(tmp_path)
        assert model_file.has_model(tmp_path)
        assert load_model(tmp_path, backend="auto")[0].backend.name == "cpu"
        with pytest.raises(BackendError, match="cannot be used"):
            load_model(tmp_path, backend="cuda")


def test_options_of_the_machine_may_be_given_anew(tmp_path):
    save_model(tmp_path, small(backend="cpu", threads=1), np.ones(8))
    assert load_model(tmp_path)[0].backend.threads == 1
    other = load_model(tmp_path, threads=2, memory=1e9)[0]
    assert (other.backend.threads, other.budget.memory) == (2, 1e9)
    with machine(devices=1):
        # The threads that were saved are those of another backend.
        assert load_model(tmp_path, backend="cuda")[0].backend.name == "cuda"
    with pytest.raises(TypeError, match="dtype"):
        load_model(tmp_path, dtype="float64")
