"""The package as it is installed: what an import costs, what is public, what a wheel holds."""

import configparser
import inspect
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import tn_qnn

ROOT = Path(__file__).parents[1]
HEAVY = set(
    "cotengra cotengrust cupy llvmlite matplotlib numba opt_einsum pandas quimb scipy sklearn "
    "torch tqdm".split()
)
PLANTED = {"planted.cu": "// source\n", "planted.cuh": "// header\n"}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command and return what it printed; a failure shows what it complained about."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(*command: str | Path, cwd: Path, **environment: str) -> dict[str, object]:
    """Run code in a Python where a warning is an error; it prints one JSON object."""
    return json.loads(run(sys.executable, "-W", "error", *command, cwd=cwd, **environment))


# --- importing ------------------------------------------------------------------------------


IMPORT = """
import json, sys, time
start = time.perf_counter()
import tn_qnn
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def test_importing_is_silent_and_loads_nothing_heavy():
    runs = [python("-c", IMPORT, cwd=ROOT) for _ in range(3)]
    for result in runs:
        assert "numpy" in result["modules"]
        assert not {name.split(".")[0] for name in result["modules"]} & HEAVY
    # Printed, not tested: the machine may be busy. The aim is 0.5 s.
    print(f"import tn_qnn: {min(result['seconds'] for result in runs):.3f} s, best of three")


def test_a_missing_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tn_qnn.no_such_name


@pytest.mark.parametrize("name", tn_qnn.__all__)
def test_public_names_resolve_and_are_documented(name):
    value = getattr(tn_qnn, name)
    assert name in dir(tn_qnn)
    if callable(value) or inspect.ismodule(value):  # a table such as GATES cannot have one
        doc = value.__doc__ or ""
        assert doc.strip(), f"tn_qnn.{name} has no docstring"
        assert not doc.startswith(f"{name}("), f"tn_qnn.{name} has only what dataclass wrote"


# --- building and installing ----------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Return a copy of what is needed to build, with two kernels planted."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    for name in ("tn_qnn", "kernels"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in PLANTED.items():
        (copy / "kernels" / name).write_text(text)
    return copy


def build(source: Path, kind: str, out: Path) -> Path:
    """Build an ``sdist``, ``wheel`` or ``editable`` wheel with the setuptools installed here."""
    call = f"from setuptools import build_meta as b; b.build_{kind}({str(out)!r})"
    run(sys.executable, "-c", call, cwd=source)
    (result,) = out.iterdir()
    return result


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> zipfile.Path:
    """Return a wheel built from the source distribution, as one who has no clone would."""
    out = tmp_path_factory.mktemp("out")
    for kind in ("sdist", "wheel"):
        (out / kind).mkdir()
    shutil.unpack_archive(build(source, "sdist", out / "sdist"), out, filter="data")
    (unpacked,) = out.glob("tn_qnn-*")
    return zipfile.Path(build(unpacked, "wheel", out / "wheel"))


def unpack(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def test_setup_cfg_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "tn_qnn").rglob("*.py")}
    assert listed == sorted({".".join(path.parts) for path in folders} | {"tn_qnn.kernels"})


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(wheel.root.namelist())
    assert {name.split("/")[0] for name in names} == {
        "tn_qnn",
        f"tn_qnn-{tn_qnn.__version__}.dist-info",
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "tn_qnn").rglob("*.py")}
    kernels = {f"tn_qnn/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.*")}
    planted = {f"tn_qnn/kernels/{name}" for name in PLANTED}
    assert modules | kernels | planted | {"tn_qnn/py.typed"} <= names


def test_the_metadata_keeps_cupy_in_the_extras(wheel):
    (info,) = (path for path in wheel.iterdir() if path.name.endswith(".dist-info"))
    metadata = (info / "METADATA").read_text(encoding="utf-8").splitlines()
    assert {"Name: tn-qnn", f"Version: {tn_qnn.__version__}", "Requires-Python: >=3.11"} <= set(
        metadata
    )
    cupy = [line for line in metadata if line.startswith("Requires-Dist: cupy")]
    extras = {line.split('"')[1] for line in cupy if "extra ==" in line}
    assert (len(cupy), extras) == (3, {"gpu12", "gpu13", "test"})
    entry_points = (info / "entry_points.txt").read_text(encoding="utf-8")
    assert "tn-qnn = tn_qnn.cli.main:main" in entry_points


READ_KERNELS = """
import json, site, sys
site.addsitedir(sys.argv[1])  # follows .pth files: an editable install is one
sys.path.append(sys.argv[2])  # does not
from importlib.resources import files
import tn_qnn
folder = files("tn_qnn.kernels")
sources = {path.name: path.read_text() for path in folder.iterdir() if "planted" in path.name}
print(json.dumps({"file": tn_qnn.__file__, "sources": sources}))
"""


def read_kernels(site: Path) -> dict[str, object]:
    """Import from ``site``, with the dependencies but not the tn_qnn of this environment."""
    here = sysconfig.get_path("purelib")
    return python("-S", "-c", READ_KERNELS, site, here, cwd=site, PYTHONPATH="")


def test_kernels_are_readable_after_an_install(wheel, tmp_path):
    site = unpack(wheel.root.filename, tmp_path)
    file = str(site / "tn_qnn" / "__init__.py")
    assert read_kernels(site) == {"file": file, "sources": PLANTED}


def test_kernels_are_readable_after_an_editable_install(source, tmp_path):
    (tmp_path / "out").mkdir()
    site = unpack(build(source, "editable", tmp_path / "out"), tmp_path / "site")
    file = str(source / "tn_qnn" / "__init__.py")
    assert read_kernels(site) == {"file": file, "sources": PLANTED}
