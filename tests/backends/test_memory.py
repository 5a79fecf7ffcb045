"""Budgets: bytes, shares of what is free, and nothing else."""

import pytest

from tn_qnn.backends import memory
from tn_qnn.backends.memory import Budget
from tn_qnn.errors import InputError


def test_bytes_are_bytes() -> None:
    assert Budget(1e9).bytes() == 10**9
    assert Budget(4096).bytes() == 4096
    assert isinstance(Budget(2.5e9).bytes(), int)


def test_shares_are_of_what_is_free_when_asked() -> None:
    import psutil

    free = psutil.virtual_memory().available
    assert 0.02 * free < Budget(0.1).bytes() < 0.2 * free  # others come and go meanwhile
    assert Budget(0.9).bytes() > Budget(0.1).bytes()
    assert Budget() == Budget(0.5)


def test_shares_follow_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from tn_qnn.backends import memory

    monkeypatch.setattr(memory, "free_memory", lambda: 8000)
    budget = Budget(0.25)
    assert budget.bytes() == 2000
    monkeypatch.setattr(memory, "free_memory", lambda: 4000)
    assert budget.bytes() == 1000


@pytest.mark.parametrize(
    "memory", [0, -1, float("nan"), float("inf"), True, False, "1GB", None, 1, 999, 1 + 0j]
)
def test_anything_else_is_refused(memory: object) -> None:
    with pytest.raises(InputError, match=r"memory: bytes .*, or a share .* expected, not "):
        Budget(memory)  # type: ignore[arg-type]


def test_what_the_caller_holds_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a model that is cut into chunks would shrink them from call to call."""
    monkeypatch.setattr(memory, "free_memory", lambda: 6000)
    assert Budget(0.5).bytes(held=2000) == 4000
    assert Budget(5000).bytes(held=2000) == 5000
