"""Budgets: bytes, shares of what is free, and nothing else."""

import pytest

from tn_qnn.backends import get_backend
from tn_qnn.backends.memory import Budget
from tn_qnn.errors import InputError


def test_bytes_are_bytes() -> None:
    assert Budget(1e9).bytes(free=10) == 10**9
    assert Budget(4096).bytes(free=10) == 4096
    assert isinstance(Budget(2.5e9).bytes(free=10), int)


def test_shares_are_of_what_is_free() -> None:
    assert Budget(0.25).bytes(free=8000) == 2000
    assert Budget(0.25).bytes(free=4000) == 1000
    assert Budget() == Budget(0.5)


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
def test_the_host_knows_what_is_free(backend: str) -> None:
    import psutil

    free = psutil.virtual_memory().available
    assert 0.2 * free < get_backend(backend).free_memory() < 5 * free  # others come and go


@pytest.mark.parametrize(
    "memory", [0, -1, float("nan"), float("inf"), True, False, "1GB", None, 1, 999, 1 + 0j]
)
def test_anything_else_is_refused(memory: object) -> None:
    with pytest.raises(InputError, match=r"memory: bytes .*, or a share .* expected, not "):
        Budget(memory)  # type: ignore[arg-type]


def test_what_the_caller_holds_counts_as_free() -> None:
    """Else a model that is cut into chunks would shrink them from call to call."""
    assert Budget(0.5).bytes(free=6000, held=2000) == 4000
    assert Budget(5000).bytes(free=6000, held=2000) == 5000
