"""``plan --device``: a prediction that is labelled as one, by arithmetic alone."""

import json
import math
import subprocess
import sys

import pytest

OPTIONS = ["--sets", 2, "--samples", 256, "--dtype", "float32"]


def predicted(cli, file, *options, device="h100"):
    words = ["plan", file, "Z1", *OPTIONS, "--device", device, "--json", *options]
    ended = cli(*words)
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


def test_the_text_says_predicted_and_has_a_line_a_launch(cli, bell):
    ended = cli("plan", bell, "Z1", *OPTIONS, "--device", "h100")
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert lines[0].startswith("PREDICTED, not measured: H100, float32, 2 weight sets x 256")
    assert "measured" not in ended.out.replace("not measured", "").replace("measurement", "")
    (head,) = (k for k, text in enumerate(lines) if text.startswith("stage "))
    launches = predicted(cli, bell)["jobs"][0]["launches"]
    table = lines[head + 1 : head + 1 + len(launches)]
    assert [text.split("  ")[0] for text in table] == [x["stage"] for x in launches]
    assert {len(text) for text in lines[head : head + 1 + len(launches)]} == {len(lines[head])}
    assert any(text.startswith("a call: ") for text in lines)


def test_the_json_says_what_it_is(cli, bell):
    found = predicted(cli, bell)
    assert (found["predicted"], found["measured"]) == (True, False)
    assert found["device"]["name"] == "H100"
    assert (found["dtype"], found["sets"], found["samples"]) == ("float32", 2, 256)
    assert found["seconds"] == pytest.approx(sum(job["seconds"] for job in found["jobs"]))
    launches = [x for job in found["jobs"] for x in job["launches"]]
    assert launches
    assert all(x["measured"] is None and math.isfinite(x["predicted"]) for x in launches)


def test_an_older_device_is_slower(cli, bell):
    many = [predicted(cli, bell, "--samples", 10**7, device=name) for name in ("a100", "H100")]
    assert many[0]["seconds"] > many[1]["seconds"]


def test_little_memory_means_chunks(cli, bell):
    whole = predicted(cli, bell, "--samples", 100_000)
    parts = predicted(cli, bell, "--samples", 100_000, "--memory", "1MB")
    assert {job["chunks"] for job in whole["jobs"]} == {1}
    assert max(job["chunks"] for job in parts["jobs"]) > 1
    assert all(job["bytes"] <= 1_000_000 for job in parts["jobs"])


def test_an_unknown_device_is_refused_in_a_line(fails, bell):
    line = fails("plan", bell, "Z1", "--device", "v100")
    assert "one of a100, h100, h200, b200, rtx4090 expected, not 'v100'" in line


def test_a_backend_can_be_given(cli, bell):
    assert predicted(cli, bell, "--backend", "einsum")["seconds"] == predicted(cli, bell)["seconds"]
    assert cli("plan", bell, "Z1", "--backend", "einsum").code == 0


def test_no_gpu_library_is_imported(bell):
    words = ["plan", str(bell), "Z1", "--device", "h100", "--json"]
    code = (
        "import sys; from tn_qnn.cli.main import main\n"
        f"assert main({words!r}) == 0\n"
        "print('cupy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
