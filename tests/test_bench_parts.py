"""The benchmark of parts as a program; nothing here looks at a time."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # bench/ is not installed

from bench import parts


def test_every_part_of_every_model_is_measured_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SAMPLES", 64)
    monkeypatch.setattr(parts, "BATCH", 16)
    out = tmp_path / "parts.json"
    assert parts.main(["--quick", "--out", str(out)]) == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert list(result["families"]) == list(parts.families(quick=False))
    for by_estimator in result["families"].values():
        assert list(by_estimator) == list(parts.ESTIMATORS)
        for whole, *others in by_estimator.values():
            assert (whole["part"], whole["share"], whole["kept"]) == ("everything", 1.0, False)
            assert {record["part"] for record in others} == set(parts.KINDS)
            assert all(0 < record["share"] < 1 for record in others)
            assert any(record["kept"] for record in others)
    table = out.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"### {name}, {label}" in table
               for name in result["families"] for label in parts.ESTIMATORS)  # fmt: skip
    picture = out.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    assert parts.main(["--plots", "--out", str(out)]) == 0
    assert picture.exists()
