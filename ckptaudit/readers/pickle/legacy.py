"""The five pickles of torch's legacy format, and where the storages behind them lie.

A magic number, a protocol version, facts on the machine that saved, the object itself and the list of
storage keys (torch/serialization.py, `_legacy_load`). Each storage then follows in the order of the
list: eight bytes of element count, little-endian, and the elements.
"""

from __future__ import annotations

from typing import NamedTuple

from ckptaudit.model import DTYPE_BITS, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.machine import Pickled
from ckptaudit.readers.pickle.storageid import StorageId, storage_id
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.symbols import Persistent
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.readers.wording import few

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_COUNT_BYTES = 8


class Legacy(NamedTuple):
    """What was read: all pickles, the one of the object, and where the storages lie by their keys.

    `classes` says that the object refers to the source code of classes, as full models did.
    """

    pickles: list[Pickled]
    pickled: Pickled
    places: dict[str, Span]
    classes: bool


def read_legacy(draft: Draft, stream: PickleStream) -> Legacy:
    """Read the pickles from the position of `stream`, and step over the storages."""
    references = _References()
    pickles = [stream.pickle("magic number"), stream.pickle("protocol version"), stream.pickle("system info")]
    if pickles[1].value != PROTOCOL and pickles[1].fault is None:
        draft.problem("malformed-file", f"protocol version {PROTOCOL} expected: torch refuses any other")
    pickled = stream.pickle("the object", references.persistent)
    pickles.append(pickled)
    places: dict[str, Span] = {}
    if pickled.fault is None:
        keys = stream.pickle("storage keys")
        pickles.append(keys)
        places = _places(draft, stream, keys, references.found)
    return Legacy(pickles, pickled, places, references.classes)


class _References:
    """What the persistent ids of the object name: storages, and classes with their source code."""

    def __init__(self) -> None:
        self.found: dict[str, StorageId] = {}
        self.classes = False

    def persistent(self, pid: object) -> object:
        if type(pid) is tuple and len(pid) >= 2 and pid[0] in ("module", b"module"):
            self.classes = True
            return pid[1]  # the class itself; torch only compares its source
        try:
            storage = storage_id(pid)
        except TensorError:
            return Persistent(pid)  # the tensor that wants it says what is wrong
        self.found.setdefault(storage.key, storage)
        return Persistent(pid)


def _places(
    draft: Draft, stream: PickleStream, keys: Pickled, found: dict[str, StorageId]
) -> dict[str, Span]:
    """Where each storage of the list lies. The first one that does not fit ends the list."""
    places: dict[str, Span] = {}
    listed: list[object] = list(keys.value) if type(keys.value) in (list, tuple) else []
    for number, name in enumerate(listed):
        key = str(name) if type(name) in (str, int) else ""
        storage = found.get(key)
        if storage is None:
            draft.problem("malformed-file", f"no tensor refers to storage {key[:80]!r}", incomplete=True)
            break
        if stream.left < _COUNT_BYTES:
            _cut_off(draft, stream, len(listed) - number, 0)
            break
        count = int.from_bytes(stream.raw(_COUNT_BYTES), "little")
        nbytes = count * DTYPE_BITS[storage.dtype] // 8
        if count != storage.numel:
            draft.problem(
                "storage-size-mismatch",
                f"storage {few([key])} should have {storage.numel:,} elements, the file has {count:,}",
                draft.span(stream.position - _COUNT_BYTES, _COUNT_BYTES),
                incomplete=True,
            )
            break
        if nbytes > stream.left:
            _cut_off(draft, stream, len(listed) - number, nbytes)
            break
        places[key] = stream.skip(nbytes)
    return places


def _cut_off(draft: Draft, stream: PickleStream, storages: int, nbytes: int) -> None:
    draft.problem(
        "malformed-file",
        f"the file ends at byte {draft.source.size} inside its storages: the last {storages:,} are not whole "
        f"(the first of them would end at byte {stream.position + nbytes})",
        draft.span(stream.position, max(0, stream.left)),
        incomplete=True,
    )
