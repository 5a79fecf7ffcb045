"""The documentation: its examples run, its links lead somewhere, and it leaves nothing out."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tn_qnn

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README.md"), *(ROOT / "docs").glob("*.md")])
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def failures(page: Path) -> list[str]:
    """Run a page's doctests in order, in one namespace."""
    found: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    text = page.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner.run(test, out=found.append)
    return found


def scripts(page: Path) -> list[str]:
    """Return the Python blocks of a page that are no doctests."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    return [block for language, block in blocks if language == "python" and ">>>" not in block]


def anchors(page: Path) -> set[str]:
    """Return the names that the headings of a page get where it is shown."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> Iterator[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@each_page
def test_the_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not "".join(failures(page))


@pytest.mark.parametrize(
    "code", [pytest.param(code, id=page.name) for page in PAGES for code in scripts(page)]
)
def test_the_scripts_run(code, tmp_path):
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@each_page
def test_the_links_lead_somewhere(page):
    assert not list(broken_links(page))


@pytest.mark.parametrize("name", tn_qnn.__all__)
def test_every_public_name_is_mentioned(name):
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.search(rf"\btq\.{name}\b", text), f"no page mentions tq.{name}"


@each_page
def test_a_page_names_no_place_of_a_machine(page):
    assert not re.findall(r"/(?:home|root|work|Users)/\S*", page.read_text(encoding="utf-8"))


# --- the checks can fail --------------------------------------------------------------------

PLANTED = """# A title: one

[there](other.md) [not there](missing.md) [a title](#a-title-one) [none](#none) [net](https://x.org)

```python
>>> 1 + 1
3

```

```python
print("[no link](missing.md)")
```
"""


def test_planted_faults_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PLANTED, encoding="utf-8")
    (tmp_path / "other.md").touch()
    assert list(broken_links(page)) == ["missing.md", "#none"]
    assert "Expected:\n    3\nGot:\n    2" in "".join(failures(page))
    assert scripts(page) == ['print("[no link](missing.md)")\n']
