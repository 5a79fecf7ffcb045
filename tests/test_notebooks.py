"""Every notebook runs from top to bottom in a fresh kernel, without a warning."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 300_000  # with its pictures
SECONDS = 300  # for a cell; only a hang takes so long


def kinds(notebook: nbformat.NotebookNode) -> set[tuple[int, str]]:
    """Return what each code cell gave: names of streams and MIME types."""
    return {
        (number, kind)
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        for kind in output.get("data", [output.get("name")])
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Jupyter's own, about its sockets and folders: nothing of the notebook.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_runs_and_gives_what_is_saved_in_it(path, tmp_path):
    saved = nbformat.read(path, as_version=4)
    fresh = nbformat.from_dict(saved)
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    search = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {"PYTHONPATH": os.pathsep.join(search), "PYTHONWARNINGS": "default"}
    client = NotebookClient(fresh, timeout=SECONDS, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(tmp_path), env=environment)  # raises where a cell does
    assert kinds(fresh) == kinds(saved), "run it anew: jupyter execute --inplace NOTEBOOK"
    given = {kind for _, kind in kinds(fresh)}
    assert "stderr" not in given  # where warnings go
    assert "image/png" in given


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_saved_notebook_is_small_and_names_no_place_of_its_machine(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert len(text) < MAX_BYTES
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    words = re.sub(r"[A-Za-z0-9+/=\\n]{200,}", "", "".join(shown))  # without the pictures
    assert not re.findall(r"/(?:home|root|tmp|work|Users)/\S*", words)


def test_there_are_a_tour_and_one_about_learning():
    assert [path.name for path in NOTEBOOKS] == ["learning.ipynb", "tour.ipynb"]
