"""Records beside arrays: where their copies lie, when they are made, and that they have arrived."""

from dataclasses import dataclass, field

import numpy as np

from tn_qnn.arrays import array_module, beside, to_numpy

from .emulation.cupy_standin import install, make_cupy


@dataclass(frozen=True, eq=False)
class Table:
    name: str
    values: np.ndarray = field(default_factory=lambda: np.arange(5.0))
    missing: np.ndarray | None = None


def test_on_the_host_it_is_the_record_itself():
    table = Table("a")
    assert beside(table, np.zeros(3)) is table
    assert array_module([1]) is np and array_module(None) is np


def test_on_a_device_arrays_are_copied_once_and_the_rest_is_kept(cupy):
    table, array = Table("a"), cupy.zeros(3)
    copy = beside(table, array)
    sent = cupy._standin.machine.counters.to_device
    assert beside(table, cupy.ones(1)) is copy
    assert cupy._standin.machine.counters.to_device == sent
    assert array_module(copy.values) is cupy and (copy.name, copy.missing) == ("a", None)
    np.testing.assert_array_equal(to_numpy(copy.values), table.values)
    assert isinstance(table.values, np.ndarray)


def test_every_device_has_its_own_copy(monkeypatch):
    cupy = make_cupy(devices=2)
    install(cupy, monkeypatch.setitem)
    with cupy.cuda.Device(1):
        second = cupy.zeros(3)
    table, first = Table("a"), cupy.zeros(3)
    assert [beside(table, a).values.device.id for a in (first, second, first)] == [0, 1, 0]
    assert cupy.cuda.Device().id == 0


def test_another_module_gets_a_copy_of_its_own(cupy, monkeypatch):
    table = Table("a")
    first = beside(table, cupy.zeros(1))
    other = make_cupy()
    install(other, monkeypatch.setitem)
    second = beside(table, other.zeros(1))
    assert isinstance(first.values, cupy.ndarray) and isinstance(second.values, other.ndarray)


def test_a_copy_can_be_read_on_any_stream(lazy_cupy):
    """Nothing orders the streams of two callers: what is kept must have arrived."""
    table = Table("a")
    streams = [lazy_cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    with streams[0]:
        copy = beside(table, lazy_cupy.zeros(3))
    with streams[1]:
        np.testing.assert_array_equal((copy.values + 1).get(), table.values + 1)
