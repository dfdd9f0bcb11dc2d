"""torch.save of torch 0.1: a tar of `sys_info`, `storages`, `tensors` and `pickle`.

torch still loads it (torch/serialization.py, `legacy_load`), and tries it on every file that is not a
zip. `storages` is a count, then (key, device, type) and the elements of each, then views into them;
`tensors` a count, then (key, storage key, type) and sizes, strides and offset of each; `pickle` the
object, which names tensors and storages by their keys.
"""

from __future__ import annotations

import io
from typing import Any

from ckptaudit.model import DTYPE_BITS, Checkpoint, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.storageid import STORAGE_DTYPES
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.symbols import Call, Global, Persistent
from ckptaudit.readers.pickle.weights_only import refused, settle
from ckptaudit.readers.probe import Probe
from ckptaudit.source import Slice, Source

FORMAT = "torch-tar"
_BLOCK = 512
_CHECKSUM = slice(148, 156)
_MEMBERS = ("storages", "tensors", "pickle")
_MAX_DIMS = 64


def sniff(probe: Probe) -> bool:
    """A tar, by its checksum, with the members of torch 0.1."""
    return is_tar(probe.head) and set(_MEMBERS) <= set(_members(probe.source))


def is_tar(head: bytes) -> bool:
    """Whether the first block is a tar header: the sum of its bytes, its own eight counted as spaces."""
    block = head[:_BLOCK]
    try:
        told = int(block[_CHECKSUM].strip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    return len(block) == _BLOCK and told == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")


def read(probe: Probe) -> Checkpoint:
    """Read the object, and where each storage lies; never the storages themselves."""
    draft = Draft(probe.source, FORMAT, probe.limits)
    if probe.head.startswith(b"\x80"):
        draft.problem(
            "ambiguous-format", "the file is a tar archive to torch.load, and begins as a pickle does"
        )
    members = _members(probe.source)
    streams = {name: _stream(draft, members[name], name) for name in _MEMBERS}
    objects = _Objects(draft)
    objects.read_storages(streams["storages"])
    objects.read_tensors(streams["tensors"])
    pickled = streams["pickle"].pickle("pickle", objects.persistent)
    memory = Stored(draft, objects.locate)
    reviver = Reviver(draft, memory)
    reviver.walk(pickled.value)
    reviver.roots.settle()
    memory.check_bounds()
    settle(draft, refused("the tar format of torch 0.1, which weights_only=True refuses"))
    return draft.finish()


def _stream(draft: Draft, span: Span, name: str) -> PickleStream:
    if span.start + span.nbytes > draft.source.size:
        draft.problem(
            "malformed-file",
            f"{name} would end at byte {span.start + span.nbytes}, the file ends at {draft.source.size}",
            span,
            incomplete=True,
        )
    return PickleStream(draft, Slice(draft.source, span.start, span.nbytes, name), span.start)


class _Reader(io.RawIOBase):
    """A source as the file object that tarfile wants."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._position, self._source.size if size < 0 else size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset if whence == 0 else self._position + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _members(source: Source) -> dict[str, Span]:
    """The regular members by name, the last of each, as tarfile finds them; none of a broken archive."""
    import tarfile  # the one format that needs it

    found: dict[str, Span] = {}
    try:
        with tarfile.open(fileobj=_Reader(source), mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.isreg():
                    found[member.name] = Span(source.path, member.offset_data, member.size)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError):
        return found  # cut short: what came before the break is still a member
    return found


class _Objects:
    """The storages and tensors of the file, by the keys that the object's pickle uses for them."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._storages: dict[str, tuple[Persistent, Span]] = {}
        self._tensors: dict[str, Call] = {}
        self._rebuild = Global("torch._utils", "_rebuild_tensor", 0, 0)

    def locate(self, key: str, nbytes: int) -> Span | None:
        """Where the elements of a storage lie."""
        return self._storages[key][1] if key in self._storages else None

    def persistent(self, pid: object) -> object:
        """What stands behind a persistent id of the object: a class, a tensor or a storage."""
        if type(pid) is tuple and pid:
            return pid[0]
        key = str(pid) if type(pid) in (str, int) else ""
        if key in self._tensors:
            return self._tensors[key]
        if key in self._storages:
            return self._storages[key][0]
        self._draft.problem(
            "missing-record", f"nothing in the file has the key {key[:80]!r}", incomplete=True
        )
        return None

    def read_storages(self, stream: PickleStream) -> None:
        """`storages`: a count, each storage with its elements, and the views into them."""
        for _ in range(_count(stream, "number of storages")):
            if not self._storage(stream):
                return
        for view in _list(stream.pickle("views of storages").value):
            if type(view) is tuple and len(view) == 4:
                self._view(*view)

    def _storage(self, stream: PickleStream) -> bool:
        entry = stream.pickle("storage").value
        key, device, kind = entry if _is_triple(entry) else (None, None, None)
        dtype = STORAGE_DTYPES.get(kind.name) if type(kind) is Global else None
        if dtype is None or type(key) not in (str, int):
            self._broken(stream, "an entry of storages that is none")
            return False
        count = int.from_bytes(stream.raw(8), "little")
        nbytes = count * DTYPE_BITS[dtype] // 8
        if nbytes > stream.left:
            self._broken(
                stream, f"storage {str(key)[:80]!r} of {nbytes:,} bytes, of which {stream.left:,} are there"
            )
            return False
        pid = ("storage", kind, str(key), device if type(device) is str else "cpu", count)
        self._storages[str(key)] = (Persistent(pid), stream.skip(nbytes))
        return True

    def _view(self, key: object, root: object, offset: object, numel: object) -> None:
        found = self._storages.get(str(root))
        if found is None or type(offset) is not int or type(numel) is not int or offset < 0 or numel < 0:
            self._draft.problem("malformed-file", "a view into a storage that the file does not have")
            return
        reference, span = found
        pid = (*reference.pid, (str(key), offset, numel))
        self._storages[str(key)] = (Persistent(pid), span)

    def read_tensors(self, stream: PickleStream) -> None:
        """`tensors`: a count, and for each its keys, number of dimensions, sizes, strides and offset."""
        for _ in range(_count(stream, "number of tensors")):
            entry = stream.pickle("tensor").value
            dims = int.from_bytes(stream.raw(4), "little", signed=True)
            stream.raw(4)
            if not _is_triple(entry) or not 0 <= dims <= _MAX_DIMS or stream.left < 16 * dims + 8:
                self._broken(stream, "an entry of tensors that is none")
                return
            key, storage, _ = entry
            sizes, strides, (offset,) = (_int64s(stream, count) for count in (dims, dims, 1))
            reference = self._storages.get(str(storage))
            if reference is not None:
                self._tensors[str(key)] = Call(self._rebuild, (reference[0], offset, sizes, strides), 0)

    def _broken(self, stream: PickleStream, what: str) -> None:
        place = self._draft.span(stream.start + stream.position, max(0, stream.left))
        self._draft.problem("malformed-file", what, place, incomplete=True)


def _count(stream: PickleStream, label: str) -> int:
    value = stream.pickle(label).value
    return min(value, stream.left) if type(value) is int and value > 0 else 0


def _is_triple(entry: Any) -> bool:
    return type(entry) in (tuple, list) and len(entry) == 3


def _list(value: Any) -> list[object]:
    return value if type(value) is list else []


def _int64s(stream: PickleStream, count: int) -> tuple[int, ...]:
    raw = stream.raw(8 * count)
    return tuple(int.from_bytes(raw[at : at + 8], "little", signed=True) for at in range(0, len(raw), 8))
