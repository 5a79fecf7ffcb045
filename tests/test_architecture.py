"""The shape of the source: the direction of imports, what is imported late, sizes, no pickle."""

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tn_qnn"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each stage imports itself, what stands to its left, and LEAVES.
STAGES = "circuit network plan program backends train models interop cli".split()
LEAVES = {"arrays", "datasets", "errors", "files", "machine", "rng", "dense"}
# What may be imported by parts that are no stage, and by stages that must not use every leaf.
EXCEPTIONS = {
    "arrays": {"arrays"},
    "datasets": {"datasets", "errors"},
    "errors": {"errors"},
    "rng": {"arrays", "rng"},
    "machine": {"machine"},
    "files": {"errors", "files"},
    "dense": {"arrays", "errors", "files", "dense", "circuit"},
    "circuit": {"arrays", "errors", "files", "circuit"},
}
FACADES = {"__init__", "__main__"}  # of the top level: they gather names from everywhere

HEAVY = set(
    "cotengra cotengrust cupy cupyx jax llvmlite matplotlib numba opt_einsum pandas "
    "pennylane qiskit quimb scipy sklearn torch tqdm".split()
)
MODULE_OF = {"scikit-learn": "sklearn", "cupy-cuda13x": "cupy"}
CODE_LOADERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
MAX_MODULE, MAX_FUNCTION = 500, 80


def place(path: Path) -> str:
    """Return the stage or the top-level module to which a file of the package belongs."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def allowed(part: str) -> set[str]:
    """Return the parts of the package from which ``part`` may import."""
    if part in EXCEPTIONS:
        return EXCEPTIONS[part]
    if part not in STAGES:
        raise ValueError(f"tn_qnn/{part} has no place: give it one in STAGES, LEAVES or EXCEPTIONS")
    return LEAVES | set(STAGES[: STAGES.index(part) + 1])


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything imported anywhere in a module."""
    package = ["tn_qnn", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def executed_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: no function body, no TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from executed_on_import(child)


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the length of a function without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def declared() -> set[str]:
    """Return the names that an installed tn_qnn may import: those that setup.cfg asks for."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [setup["options"]["install_requires"], setup["options.extras_require"]["gpu13"]]
    packages = re.findall(r"^[a-z][\w-]*", "\n".join(lists), re.MULTILINE)
    return {"tn_qnn", "cupyx"} | {MODULE_OF.get(name, name) for name in packages}


def wrong_direction(tree: ast.AST, path: Path) -> Iterator[str]:
    part = place(path)
    if path.parent == PACKAGE and part in FACADES:
        return
    for line, name in imports(tree, path):
        head, *rest = name.split(".")
        if head == "tn_qnn" and part != "cli" and (rest or ["*"])[0] not in allowed(part):
            yield f"line {line}: {part} imports {name}"


def early_or_foreign(tree: ast.AST, path: Path) -> Iterator[str]:
    for line, name in imports(tree, path):
        if name.split(".")[0] in {"cupy", "cupyx"} and place(path) != "backends":
            yield f"line {line}: {name} outside tn_qnn/backends"
    # Kernels are compiled by decorators: their modules are themselves imported late.
    late = HEAVY - {"numba", "llvmlite"} if path.parent == PACKAGE / "backends/cpu" else HEAVY
    # The estimators derive from scikit-learn's classes: they are imported late, as a whole.
    late = late - {"sklearn"} if path.stem in ("base", "estimators") else late
    for node in executed_on_import(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for line, name in imports(ast.Module([node], []), path):
                if name.split(".")[0] in late:
                    yield f"line {line}: {name} at the top; import it where it is used"


def undeclared(tree: ast.AST, path: Path) -> Iterator[str]:
    known = declared() | sys.stdlib_module_names
    for line, name in imports(tree, path):
        if name.split(".")[0] not in known:
            yield f"line {line}: {name} is not in setup.cfg's install_requires"


def code_from_data(tree: ast.AST, path: Path) -> Iterator[str]:
    for line, name in imports(tree, path):
        if name.split(".")[0] in CODE_LOADERS:
            yield f"line {line}: {name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec", "compile"}:
            yield f"line {node.lineno}: {node.func.id}"
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                yield f"line {node.lineno}: allow_pickle"


def too_long(tree: ast.AST, path: Path) -> Iterator[str]:
    length = max((getattr(node, "end_lineno", 0) or 0 for node in ast.walk(tree)), default=0)
    if length > MAX_MODULE:
        yield f"{length} lines, at most {MAX_MODULE}"
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    for function in functions:
        if (lines := code_lines(function)) > MAX_FUNCTION:
            yield f"line {function.lineno}: {function.name} has {lines} lines of code"


RULES = [wrong_direction, early_or_foreign, undeclared, code_from_data, too_long]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule):
    assert len(MODULES) > 5, f"no sources under {PACKAGE}"
    broken = [
        f"{path.relative_to(PACKAGE)} {fault}"
        for path in MODULES
        for fault in rule(ast.parse(path.read_text(encoding="utf-8")), path)
    ]
    assert not broken, "\n".join(broken)


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * MAX_FUNCTION
DOCUMENTED = 'def f():\n    """\n' + "\n" * MAX_FUNCTION + '    """\n    return 1\n'


@pytest.mark.parametrize(
    ("rule", "where", "source", "faults"),
    [
        (wrong_direction, "circuit/a.py", "from tn_qnn.network import x", 1),
        (wrong_direction, "circuit/a.py", "from tn_qnn import dense", 1),
        (wrong_direction, "circuit/a.py", "from ..plan import x", 1),
        (wrong_direction, "circuit/a.py", "def f():\n    from .. import train, files", 1),
        (wrong_direction, "circuit/a.py", "from . import b\nfrom .b import c", 0),
        (wrong_direction, "plan/a.py", "import tn_qnn", 1),
        (wrong_direction, "plan/a.py", "import tn_qnn.program.steps", 1),
        (wrong_direction, "plan/a.py", "from tn_qnn.network import x\nimport numpy", 0),
        (wrong_direction, "backends/cpu/a.py", "from ...train import x", 1),
        (wrong_direction, "backends/cpu/a.py", "from ...program import x\nfrom .. import b", 0),
        (wrong_direction, "dense.py", "from tn_qnn.circuit import x", 0),
        (wrong_direction, "dense.py", "from .network import x", 1),
        (wrong_direction, "errors.py", "from tn_qnn.files import x", 1),
        (wrong_direction, "cli/main.py", "import tn_qnn as tq", 0),
        (wrong_direction, "__init__.py", "from tn_qnn.models import x", 0),
        (early_or_foreign, "plan/a.py", "import cotengra as ctg", 1),
        (early_or_foreign, "plan/a.py", "try:\n    import scipy.linalg\nfinally:\n    pass", 1),
        (early_or_foreign, "plan/a.py", "class A:\n    from numba import njit", 1),
        (early_or_foreign, "plan/a.py", "def f():\n    import cotengra", 0),
        (early_or_foreign, "plan/a.py", "if TYPE_CHECKING:\n    import cotengra", 0),
        (early_or_foreign, "backends/cpu/kernel.py", "from numba import njit", 0),
        (early_or_foreign, "backends/cpu/kernel.py", "import scipy", 1),
        (early_or_foreign, "train/a.py", "def f():\n    import cupy", 1),
        (early_or_foreign, "backends/cuda/a.py", "def f():\n    import cupy", 0),
        (undeclared, "plan/a.py", "import kahypar\nimport yaml.loader", 2),
        (undeclared, "plan/a.py", "import os.path, numpy, sklearn, cupy\nfrom . import b", 0),
        (code_from_data, "plan/a.py", "def f():\n    import pickle", 1),
        (code_from_data, "plan/a.py", "eval('1')\nexec('1')", 2),
        (code_from_data, "plan/a.py", "np.load(p, allow_pickle=True)", 1),
        (code_from_data, "plan/a.py", "np.load(p, allow_pickle=False)\nre.compile('a')", 0),
        (too_long, "plan/a.py", "x = 1\n" * MAX_MODULE, 0),
        (too_long, "plan/a.py", "x = 1\n" * (MAX_MODULE + 1), 1),
        (too_long, "plan/a.py", LONG_FUNCTION, 1),
        (too_long, "plan/a.py", DOCUMENTED, 0),
    ],
)
def test_a_planted_violation_is_caught(rule, where, source, faults):
    assert len(list(rule(ast.parse(source), PACKAGE / where))) == faults


def test_a_new_part_must_be_given_a_place():
    with pytest.raises(ValueError, match="tn_qnn/helpers has no place"):
        list(wrong_direction(ast.parse("import tn_qnn.errors"), PACKAGE / "helpers.py"))
