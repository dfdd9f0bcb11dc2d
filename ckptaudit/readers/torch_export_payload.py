"""The payloads of an exported program: raw records that tensors view, and whole files that torch.save wrote.

A payload configuration maps each name to `path_name`, `is_param`, `use_pickle` and `tensor_meta`
(`PayloadMeta` in torch/_export/serde/schema.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from math import prod
from typing import Any, Final

from ckptaudit.errors import CkptAuditError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import DTYPE_BITS, Checkpoint, Kind, Path, Span, Storage, TensorMeta
from ckptaudit.readers.archive import STORED, Archive, Member
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.probe import Probe
from ckptaudit.source import Slice, Source

# ScalarType of the schema; 0 is unknown.
_DTYPES: Final[Mapping[int, str]] = {
    **dict(enumerate("uint8 int8 int16 int32 int64 float16 float32 float64".split(), start=1)),
    **dict(enumerate("complex32 complex64 complex128 bool bfloat16".split(), start=9)),
    **dict(enumerate("uint16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz".split(), start=28)),
    **dict(enumerate("float8_e8m0fnu uint32 uint64".split(), start=33)),
}
_LAYOUTS: Final = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "mkldnn", "strided")
_MAX_INT64: Final = 2**63 - 1
_MAX_DIMS: Final = 64
_NESTED: Final = ("torch_zip", "torch_legacy", "raw_pickle")  # what torch.load may meet in a record


class _BadEntry(Exception):
    """An entry of a payload configuration describes no tensor."""


class Payloads:
    """Takes the payloads of one archive into `draft`."""

    def __init__(self, draft: Draft, archive: Archive) -> None:
        self._draft = draft
        self._archive = archive
        self._memory = Stored(draft, lambda key, nbytes: None)
        self._storages: dict[str, Storage] = {}

    def check_bounds(self) -> None:
        """Note every tensor that views more memory than its record has."""
        self._memory.check_bounds()

    def add(self, path: Path, name: str, record: Member | None, entry: Any, kind: Kind) -> None:
        """Take the tensor `name`, to hang at `path`, out of `record`, as `entry` of a configuration describes it."""
        try:
            if record is None:
                raise _BadEntry("its record is not in the archive")
            if entry.get("use_pickle") is True:
                self.unpickled(record, path, {"": kind})
            else:
                self._draft.tensors[path] = self._tensor(path, name, record, entry.get("tensor_meta"), kind)
        except _BadEntry as error:
            self._draft.problem("malformed-file", f"{name!r}: {error}", incomplete=True)

    def unpickled(self, record: Member, root: Path | None, kinds: Mapping[str, Kind]) -> None:
        """Read a record that torch.load would read; its tensors hang at `root`, or are left out where that is None.

        `kinds` are those of tensors by key; "" stands for every other.
        """
        span = self._archive.span_of(record) if record.method == STORED else None
        try:
            checkpoint = _read_nested(self._source(record, span), self._draft.limits)
        except CkptAuditError as error:
            self._draft.problem("malformed-file", f"{record.name!r}: {error.reason}", span, incomplete=True)
            return
        self._merge(checkpoint, record.name, root, kinds, span)

    def _merge(
        self, nested: Checkpoint, name: str, root: Path | None, kinds: Mapping[str, Kind], base: Span | None
    ) -> None:
        def place(span: Span | None) -> Span | None:
            if span is None or base is None or span.file != nested.path:
                return span
            return Span(base.file, base.start + span.start, span.nbytes)

        draft = self._draft
        draft.globals += [replace(found, span=place(found.span) or found.span) for found in nested.globals]
        for problem in nested.problems:
            draft.problems.append(replace(problem, detail=f"{name}: {problem.detail}", span=place(problem.span)))
        if root is None:
            return
        for storage in nested.storages.values():
            identity = f"{name}:{storage.id}"
            draft.storages[identity] = storage._replace(id=identity, span=place(storage.span))
        for tensor in nested.tensors.values():
            path = (*root, *tensor.path)
            key = ".".join(map(str, tensor.path)) or str(path[-1])
            kind = kinds.get(key, kinds[""])
            draft.tensors[path] = tensor._replace(path=path, key=key, kind=kind, storage=f"{name}:{tensor.storage}")

    def _source(self, record: Member, span: Span | None) -> Source:
        if span is not None:
            return Slice(self._draft.source, span.start, span.nbytes, record.name)
        data = self._archive.read(record, self._draft.limits.inflated_bytes)
        return _Inflated(f"{self._draft.source.path}!{record.name}", data)

    def _tensor(self, path: Path, name: str, record: Member, meta: Any, kind: Kind) -> TensorMeta:
        if type(meta) is not dict:
            raise _BadEntry("no tensor_meta")
        dtype = _DTYPES.get(meta.get("dtype")) if type(meta.get("dtype")) is int else None
        shape, stride = _sizes(meta.get("sizes")), _sizes(meta.get("strides"))
        if dtype is None or len(shape) != len(stride):
            raise _BadEntry("no dtype that torch has, or not as many strides as sizes")
        offset = _size(meta.get("storage_offset"))
        storage = self._storage(record, dtype, _device(meta.get("device")), prod(shape))
        layout = meta.get("layout")
        return TensorMeta(
            path=path,
            key=name,
            # All names of a record see it as the first of them does: torch makes one flat tensor of it.
            dtype=storage.dtype or dtype,
            shape=shape,
            stride=stride,
            offset=offset,
            storage=storage.id,
            kind=kind,
            requires_grad=meta.get("requires_grad") is True,
            layout=_LAYOUTS[layout - 1] if type(layout) is int and 0 < layout <= len(_LAYOUTS) else "strided",
        )

    def _storage(self, record: Member, dtype: str, device: str, numel: int) -> Storage:
        storage = self._storages.get(record.name)
        if storage is not None:
            return storage
        if record.nbytes == 0 and numel:
            storage = self._memory.apart("absent", dtype, device, numel * DTYPE_BITS[dtype] // 8)
            self._draft.problem(
                "storage-size-mismatch", f"{record.name!r} has no bytes: torch puts {numel:,} zeros in their place"
            )
        else:
            span = self._archive.span_of(record)
            plain = span if record.method == STORED else None
            identity = record.name.partition("/data/")[2]
            storage = self._draft.storages[identity] = Storage(identity, dtype, device, record.nbytes, plain)
        self._storages[record.name] = storage
        return storage


class _Inflated:
    """A compressed record, inflated, as a source of its own."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.size = len(data)
        self._data = data

    def read(self, start: int, nbytes: int) -> bytes:
        """The bytes from `start`."""
        return self._data[max(start, 0) : max(start, 0) + max(nbytes, 0)]


def _read_nested(source: Source, limits: Limits) -> Checkpoint:
    probe = Probe(source, limits)
    for name in _NESTED:
        reader = import_module(f"ckptaudit.readers.{name}")
        if reader.sniff(probe):
            return reader.read(probe)  # type: ignore[no-any-return]
    raise UnreadableError(source.path, "not a file that torch.save or pickle wrote")


def _sizes(value: Any) -> tuple[int, ...]:
    if type(value) is not list or len(value) > _MAX_DIMS:
        raise _BadEntry("sizes or strides that are no short list")
    return tuple(_size(size) for size in value)


def _size(value: Any) -> int:
    # {"as_int": 3}, or {"as_expr": {"expr_str": "s0", "hint": {"as_int": 3}}}
    for name in ("as_expr", "hint"):
        value = value.get(name, value) if type(value) is dict else value
    size = value.get("as_int") if type(value) is dict else None
    if type(size) is not int or not 0 <= size <= _MAX_INT64:
        raise _BadEntry("a size, stride or offset that is no number from 0 to 2**63-1")
    return size


def _device(value: Any) -> str:
    kind, index = (value.get("type"), value.get("index")) if type(value) is dict else (None, None)
    if type(kind) is not str:
        raise _BadEntry("no device")
    return f"{kind}:{index}" if type(index) is int else kind
