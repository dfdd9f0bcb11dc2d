"""A file of torch's legacy format, loaded step by step: five pickles, then the storages.

Source: `_legacy_load` of torch/serialization.py, and `THPStorage_setFromFile`, of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.legacy import MAGIC, PROTOCOL
from ckptaudit.readers.pickle.restricted.plain import hashable, unpacked
from ckptaudit.readers.pickle.restricted.storages import Scattered
from ckptaudit.readers.pickle.restricted.unpickler import Unpickler, no_storage
from ckptaudit.readers.pickle.restricted.values import (
    Budget,
    RefusedError,
    Typed,
    UnsureError,
    need,
)
from ckptaudit.readers.pickle.restricted.views import width
from ckptaudit.source import Source

_COUNT_BYTES = 8
_FIRST_WINDOW = 65_536
_GROWTH = 8


class _Row:
    """Pickles in a row, each run over a window that grows while it runs past its end."""

    def __init__(self, source: Source, limits: Limits, budget: Budget) -> None:
        self.position = 0
        self._source = source
        self._limits = limits
        self._budget = budget

    def next(self, persistent: Callable[[], Callable[[Any], Any]]) -> Any:
        nbytes, spent = _FIRST_WINDOW, (self._budget.opcodes, self._budget.objects)
        while True:
            window = self._source.read(self.position, nbytes)
            machine = Unpickler(window, 0, self._budget, persistent())
            try:
                found = machine.run()
            except RefusedError:
                if not machine.exhausted or self.position + len(window) >= self._source.size:
                    raise
                if nbytes >= self._limits.pickle_bytes:
                    raise UnsureError from None
                nbytes *= _GROWTH
                self._budget.opcodes, self._budget.objects = spent
                continue
            self.position += machine.pos
            return found


def load(source: Source, limits: Limits, budget: Budget) -> None:
    """Follow the loader through the file. Raises RefusedError where it raises."""
    row = _Row(source, limits, budget)
    need(first(row) == MAGIC, "the first pickle is not torch's magic number")
    need(_plain(row.next(lambda: no_storage)) == PROTOCOL, "another protocol version than torch reads")
    row.next(lambda: no_storage)
    storages: list[Scattered] = []

    def persistent() -> Callable[[Any], Any]:
        storages.append(Scattered(budget))
        return storages[-1].load

    row.next(persistent)
    keys = unpacked(row.next(lambda: no_storage), budget)
    position = row.position
    for key in keys:
        found = storages[-1].made.get(hashable(key, budget))
        need(found is not None, "a storage in the list that no tensor refers to")
        if found is not None:
            position = _fill(source, position, found)


def first(row: _Row) -> Any:
    """The object of the first pickle, where it is a number."""
    return _plain(row.next(lambda: no_storage))


def is_legacy(source: Source, limits: Limits) -> bool:
    """Whether torch would find its magic number in the first pickle."""
    try:
        return bool(first(_Row(source, limits, Budget(limits))) == MAGIC)
    except (RefusedError, UnsureError):
        return False


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | complex) else None


def _fill(source: Source, position: int, storage: Typed) -> int:
    """Read the elements of a storage behind their count; the position behind them."""
    raw = source.read(position, _COUNT_BYTES)
    need(len(raw) == _COUNT_BYTES, "the file ends before its storages do")
    nbytes = int.from_bytes(raw, "little", signed=True) * width(storage.dtype or "uint8")
    held = storage.memory.nbytes
    need((nbytes - held) % 2**64 == 0, f"a storage of {held:,} bytes for which the file has {nbytes:,}")
    need(position + _COUNT_BYTES + held <= source.size, "the file ends inside its storages")
    return position + _COUNT_BYTES + held
