"""The cases: who learns what, how, and what it is to reach.

A configuration that has read its test part is never changed, only replaced under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal

from bench.learning.bars import BARS
from bench.learning.data import TASKS, Task
from bench.learning.goals import Goal, Reaches, SameCurve, SoonerThan
from tn_qnn.models.digits_model import digits_classifier, wide_digits_classifier
from tn_qnn.models.estimators import QNNClassifier
from tn_qnn.train import SPSA
from tn_qnn.train.exact import ExactGradient
from tn_qnn.train.local_spsa import LocalSPSA

Runner = Literal["bar", "jax", "ours"]


@dataclass(frozen=True)
class Case:
    """One line of the benchmark.

    Attributes
    ----------
    name, title
        For ``--case`` and for the tables.
    task
        Name of the data set.
    runner
        "bar" (scikit-learn), "jax" or "ours".
    bar
        Name of the bar.
    build
        Makes the classifier of ours; of "jax" too, whose start is taken from it.
    parameters
        Given to ``build``.
    every
        Steps between two looks at the held samples.
    curves
        Splits whose validation part is watched on the way.
    goals
        What is to be reached.
    """

    name: str
    title: str
    task: str
    runner: Runner
    bar: str = ""
    build: Callable[..., QNNClassifier] = QNNClassifier
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    every: int = 50
    curves: int = 1
    goals: tuple[Goal, ...] = ()

    @property
    def data(self) -> Task:
        """The data set."""
        return TASKS[self.task]

    @property
    def digest(self) -> str:
        """What a configuration is known by: all that decides its accuracy."""
        if self.runner == "bar":
            made = dict(BARS[self.bar].grid)
        else:
            made = self.classifier(0).get_params()
        facts = (self.task, self.runner, self.bar, sorted((n, repr(v)) for n, v in made.items()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    def classifier(self, split: int, **changes: Any) -> QNNClassifier:
        """A classifier that is not fitted; the split is its seed."""
        return self.build(**{**self.parameters, "seed": split, **changes})

    def missing(self) -> str | None:
        """Say what keeps it from running here."""
        if self.runner == "jax" and find_spec("jax") is None:
            return "jax not installed; pip install --editable '.[bench]' brings it"
        return self.data.missing()

    def facts(self) -> dict[str, Any]:
        """Title, data set and parameters, for the result file."""
        shown = {name: repr(value) for name, value in self.parameters.items()}
        about = {"name": self.name, "title": self.title, "task": self.task, "runner": self.runner}
        return about | {"parameters": shown, "digest": self.digest}


def _bars(task: str, names: tuple[str, ...] = ("logistic", "svm", "mlp")) -> list[Case]:
    return [Case(f"{task}-{name}", BARS[name].title, task, "bar", bar=name) for name in names]


def _pair(
    name: str, title: str, task: str, goals: tuple[Goal, ...], **options: Any
) -> tuple[Case, Case]:
    """The same run by JAX and by us; JAX's alone has no goal."""
    ours = Case(name, f"{title}, ExactGradient", task, "ours", goals=goals, **options)
    return replace(ours, name=f"{name}-jax", title=f"{title}, JAX", runner="jax", goals=()), ours


def _exact(first_step: float, **options: Any) -> ExactGradient:
    return ExactGradient(first_step=first_step, schedule="cosine", **options)


TREES: Mapping[str, Any] = MappingProxyType({"steps": 2000, "estimator": _exact(0.05)})
WIDE: Mapping[str, Any] = MappingProxyType({"retraction": "polar"})


def _digits() -> list[Case]:
    """Rows one to three of the table, and the wall time."""
    trees = _pair(
        "digits-trees",
        "ten trees, bond dimension 2",
        "digits",
        (
            SameCurve("digits-trees-jax"),
            Reaches(0.92),
            SoonerThan("digits-trees-jax", 0.5),
        ),
        build=digits_classifier,
        parameters=TREES,
        curves=5,
    )
    wide = _pair(
        "digits-wide",
        "four trees, bond dimension 4, linear head, shifts",
        "digits",
        (
            SameCurve("digits-wide-jax"),
            Reaches(0.985),
            Reaches("digits-logistic"),
            Reaches("digits-svm"),
            SoonerThan("digits-wide-jax", 0.5),
        ),
        build=wide_digits_classifier,
        parameters=WIDE,
        curves=5,
    )
    return [*_bars("digits"), *trees, *_without_gradients(), *wide]


def _without_gradients() -> list[Case]:
    """The second row: the ten trees by estimators that need no environments of all gates."""
    return [
        Case(
            f"digits-trees-{name}",
            f"ten trees, {title}",
            "digits",
            "ours",
            build=digits_classifier,
            parameters={"steps": 2000, "estimator": estimator},
            goals=(Reaches(0.62),),
        )
        for name, title, estimator in (
            (
                "plain",
                "SPSA without credit",
                SPSA(c=0.1, directions=16, first_step=0.05, credit=False),
            ),
            ("spsa", "SPSA with credit", SPSA(c=0.1, directions=16, first_step=0.05)),
            ("local", "LocalSPSA", LocalSPSA(c=0.1, first_step=0.02, schedule="cosine")),
        )
    ]


def _others() -> list[Case]:
    """Rows four and five."""
    mnist = Case(
        "mnist-wide",
        "two trees, bond dimension 4, linear head, shifts",
        "mnist",
        "ours",
        build=wide_digits_classifier,
        parameters={**WIDE, "orders": ("hilbert", "transposed")},
        goals=(Reaches("mnist-logistic"), Reaches("mnist-svm")),
    )
    bars = Case(
        "bars-wide",
        "two trees, bond dimension 4, linear head",
        "bars",
        "ours",
        build=wide_digits_classifier,
        parameters={**WIDE, "orders": ("hilbert", "transposed"), "shifts": 0},
        goals=(Reaches(0.99),),
    )
    return [*_bars("mnist"), mnist, *_bars("bars"), bars]


def _tiny() -> list[Case]:
    """For ``--quick``: all runners, in seconds."""
    tree = _pair(
        "tiny-wide",
        "two trees of 16 qubits",
        "tiny",
        (SameCurve("tiny-wide-jax"),),
        build=wide_digits_classifier,
        parameters={
            **WIDE,
            "steps": 60,
            "batch_size": 16,
            "orders": ("row", "hilbert"),
            "shifts": 0,
        },
        every=10,
    )
    spsa = Case(
        "tiny-spsa",
        "a tree, SPSA",
        "tiny",
        "ours",
        parameters={"steps": 20, "directions": 2},
        every=10,
        goals=(Reaches("tiny-logistic"), SoonerThan("tiny-wide", 1.0)),
    )
    return [*_bars("tiny", ("logistic",)), *tree, spsa]


CASES: tuple[Case, ...] = (*_digits(), *_others())
QUICK: tuple[Case, ...] = tuple(_tiny())


def find_cases(names: tuple[str, ...] = (), quick: bool = False) -> tuple[Case, ...]:
    """Cases by name or by data set, all of them by default.

    Raises
    ------
    ValueError
        For a name that there is not.
    """
    cases = QUICK if quick else CASES
    known = {case.name for case in cases} | {case.task for case in cases}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"no case or data set is named {unknown[0]!r}; known: {sorted(known)}")
    return tuple(c for c in cases if not names or c.name in names or c.task in names)
