"""Persistent ids as torch's two loaders resolve them: the storages of a zip archive, and of a legacy file.

Source: `persistent_load` of `_load` and of `_legacy_load` in torch/serialization.py of torch 2.13, called
with map_location="cpu": devices are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ckptaudit.readers.pickle.restricted.plain import hashable
from ckptaudit.readers.pickle.restricted.values import (
    MOST_BYTES,
    Budget,
    Foreign,
    Made,
    Memory,
    Named,
    Tensor,
    Typed,
    is_int,
    kind_of,
    need,
)
from ckptaudit.readers.pickle.restricted.views import width

_UNTYPED = "torch.storage.UntypedStorage"


def _parts(pid: Any) -> tuple[Any, ...]:
    need(type(pid) is tuple and pid, f"{kind_of(pid)} as a persistent id")
    tag = _ascii(pid[0])
    need(tag == "storage", "a persistent id of something else than a storage")
    return pid[1:]  # type: ignore[no-any-return]


def _ascii(value: Any) -> Any:
    if type(value) is bytes:
        need(value.isascii(), "a persistent id that is not ASCII")
        return value.decode("ascii")
    return value


def _dtype(kind: Any, *, untyped: bool) -> str:
    if type(kind) in (Foreign, Made):
        return "float32"
    if type(kind) is Named:
        if kind.name == _UNTYPED:
            need(untyped, "an untyped storage, which the legacy loader does not know")
            return "uint8"
        need(kind.kind in ("storage type", "tensor type"), f"{kind.name} as the type of a storage")
        return kind.dtype or "float32"
    need(type(kind) in (Tensor, Typed) and kind.dtype, f"{kind_of(kind)} as the type of a storage")
    return kind.dtype  # type: ignore[no-any-return]


class Archived:
    """The storages of a zip archive.

    `size_of` gives the bytes that a record has and refuses a missing one, `read` gives the bytes themselves.
    """

    def __init__(self, size_of: Callable[[str], int], read: Callable[[str], bytes], budget: Budget) -> None:
        self._size_of = size_of
        self._read = read
        self._budget = budget
        self._loaded: dict[Any, Typed] = {}

    def load(self, pid: Any) -> Typed:
        """persistent_load of a zip archive."""
        data = _parts(pid)
        need(len(data) == 4, f"a persistent id of {len(data) + 1} parts")
        kind, key, location, numel = data
        dtype = _dtype(kind, untyped=True)
        hashable(key, self._budget)
        if key in self._loaded:
            return self._loaded[key]
        _ascii(location)
        need(isinstance(numel, int), f"{kind_of(numel)} as the size of a storage")
        nbytes = numel * width(dtype)
        need(0 <= nbytes < 2**63, "a storage whose size is no sensible number")
        record = _record(key)
        found = self._size_of(record)
        need(found == nbytes, f"storage {record[:80]} should have {nbytes:,} bytes and has {found:,}")
        made = Typed(Memory(nbytes, read=partial(self._read, record)), dtype)
        if nbytes:  # torch does not keep an empty storage: the next mention of its key looks again
            self._loaded[key] = made
        return made


def _record(key: Any) -> str:
    """The record of a key: what an f-string makes of it."""
    need(isinstance(key, str | int | float | bytes | None), f"{kind_of(key)} as the key of a storage")
    need(
        not isinstance(key, int) or key.bit_length() < 4096, "a number of many digits as the key of a storage"
    )
    return f"data/{key}"


class Scattered:
    """The storages of a legacy file, which torch makes before it fills them."""

    def __init__(self, budget: Budget) -> None:
        self.made: dict[Any, Typed] = {}
        self._budget = budget

    def load(self, pid: Any) -> Typed:
        """persistent_load of a legacy file."""
        data = _parts(pid)
        need(len(data) == 5, f"a persistent id of {len(data) + 1} parts")
        kind, key, location, numel, view = data
        _ascii(location)
        dtype = _dtype(kind, untyped=False)
        need(isinstance(numel, int), f"{kind_of(numel)} as the size of a storage")
        nbytes = numel * width(dtype)
        hashable(key, self._budget)
        if key not in self.made:
            need(0 <= nbytes < MOST_BYTES, "a storage whose size is no sensible number")
            self.made[key] = Typed(Memory(nbytes, grows=True), dtype)
        found = self.made[key]
        if not found.memory.nbytes:
            found = Typed(Memory(0, grows=True), dtype) if nbytes or found.dtype != dtype else found
        return found if view is None else self._view(found, view, dtype)

    def _view(self, root: Typed, view: Any, dtype: str) -> Typed:
        need(type(view) in (tuple, list) and len(view) == 3, f"{kind_of(view)} as a view of a storage")
        key, offset, size = view
        need(is_int(offset) and is_int(size), "a view of a storage whose place is no number")
        if hashable(key, self._budget) not in self.made:
            start, stop = offset * width(dtype), (offset + size) * width(dtype)
            nbytes = len(range(root.memory.nbytes)[start:stop])  # a slice is cut to what there is
            self.made[key] = Typed(Memory(nbytes), dtype)
        return self.made[key]
