"""The payloads of an exported program: raw records that tensors view, and whole files that torch.save wrote.

A payload configuration maps each name to `path_name`, `is_param`, `use_pickle` and `tensor_meta`
(`PayloadMeta` in torch/_export/serde/schema.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from math import prod
from typing import Any, Final

from ckptaudit.errors import CkptAuditError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import DTYPE_BITS, Checkpoint, Kind, Path, Span, Storage, TensorMeta
from ckptaudit.readers.archive import STORED, Archive
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle.memory import bytes_reached
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.wording import few
from ckptaudit.source import Bytes, Slice, Source

# ScalarType of the schema, from 1 and from 28 on; 0 is unknown.
_DTYPES: Final[Mapping[object, str]] = {
    **dict(enumerate(["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"], start=1)),
    **dict(enumerate(["complex32", "complex64", "complex128", "bool", "bfloat16"], start=9)),
    **dict(enumerate(["uint16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"], start=28)),
    **dict(enumerate(["float8_e5m2fnuz", "float8_e8m0fnu", "uint32", "uint64"], start=32)),
}
_LAYOUTS: Final = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "mkldnn", "strided")
_MAX_INT64: Final = 2**63 - 1
_MAX_DIMS: Final = 64
_NESTED: Final = (
    "torchscript",
    "torch_zip",
    "torch_legacy",
    "raw_pickle",
)  # what torch.load may meet in a record


# From a tensor's name in a record to the place where it hangs.
Hang = Callable[[str], tuple[Path, Kind]]


class Payloads:
    """Takes the payloads of one archive into `draft`."""

    def __init__(self, draft: Draft, archive: Archive) -> None:
        self._draft = draft
        self._archive = archive
        self._storages: dict[str, Storage] = {}
        self._added: list[TensorMeta] = []

    def take(self) -> list[TensorMeta]:
        """The tensors added since it was last asked."""
        added, self._added = self._added, []
        return added

    def add(self, path: Path, name: str, record: Member | None, entry: Any, kind: Kind) -> None:
        """Take the tensor `name`, to hang at `path`, out of `record`, as `entry` describes it."""
        try:
            if record is None:
                raise TensorError("its record is not in the archive")
            if entry.get("use_pickle") is True:
                self.unpickled(record, lambda key: (path, kind))
            else:
                self._add(self._tensor(path, name, record, entry.get("tensor_meta"), kind))
        except TensorError as error:
            self._draft.problem("malformed-file", f"{few([name])}: {error}", incomplete=True)

    def unpickled(self, record: Member, hang: Hang | None) -> None:
        """Read a record that torch.load would read; without `hang` its tensors are left out."""
        span = self._archive.span_of(record) if record.method == STORED else None
        try:
            checkpoint = _read_nested(self._source(record, span), self._draft.limits)
        except CkptAuditError as error:
            self._draft.problem(
                "malformed-file", f"{few([record.name])}: {error.reason}", span, incomplete=True
            )
            return
        self._merge(checkpoint, record.name, hang, span)

    def _merge(self, nested: Checkpoint, name: str, hang: Hang | None, base: Span | None) -> None:
        def place(span: Span | None) -> Span | None:
            if span is None or base is None or span.file != nested.path:
                return span
            return Span(base.file, base.start + span.start, span.nbytes)

        draft = self._draft
        draft.globals += [replace(found, span=place(found.span) or found.span) for found in nested.globals]
        for problem in nested.problems:
            draft.problems.append(
                replace(problem, detail=f"{name}: {problem.detail}", span=place(problem.span))
            )
        if hang is None:
            return
        for storage in nested.storages.values():
            identity = f"{name}:{storage.id}"
            draft.storages[identity] = storage._replace(id=identity, span=place(storage.span))
        for tensor in nested.tensors.values():
            path, kind = hang(".".join(map(str, tensor.path)))
            identity = f"{name}:{tensor.storage}"
            self._add(tensor._replace(path=path, key=str(path[-1]), kind=kind, storage=identity))

    def _add(self, tensor: TensorMeta) -> None:
        if tensor.path in self._draft.tensors:
            self._draft.problem("duplicate-name", f"two tensors are called {few([tensor.key])}")
        self._draft.tensors[tensor.path] = tensor
        self._added.append(tensor)

    def _source(self, record: Member, span: Span | None) -> Source:
        if span is not None:
            return Slice(self._draft.source, span.start, span.nbytes, record.name)
        data = self._archive.read(record, self._draft.limits.inflated_bytes)
        return Bytes(f"{self._draft.source.path}!{record.name}", data)

    def _tensor(self, path: Path, name: str, record: Member, meta: Any, kind: Kind) -> TensorMeta:
        if type(meta) is not dict:
            raise TensorError("no tensor_meta")
        number = meta.get("dtype")
        dtype = _DTYPES.get(number) if type(number) is int else None
        shape, stride = _sizes(meta.get("sizes")), _sizes(meta.get("strides"))
        if dtype is None or len(shape) != len(stride):
            raise TensorError("no dtype that torch has, or not as many strides as sizes")
        offset = _size(meta.get("storage_offset"))
        storage = self._storage(record, dtype, _device(meta.get("device")), prod(shape))
        layout = meta.get("layout")
        tensor = TensorMeta(
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
        reach = bytes_reached(tensor)
        if reach > storage.nbytes and tensor.layout == "strided":
            self._draft.problem(
                "tensor-outside-storage",
                f"{few([name])} {list(shape)} needs {reach:,} bytes of storage {few([storage.id])}, "
                f"which has {storage.nbytes:,}",
                storage.span,
            )
        return tensor

    def _storage(self, record: Member, dtype: str, device: str, numel: int) -> Storage:
        storage = self._storages.get(record.name)
        if storage is not None:
            return storage
        identity = record.name.partition("/data/")[2]
        if record.nbytes == 0 and numel:
            storage = Storage(identity, dtype, device, numel * DTYPE_BITS[dtype] // 8, None)
            self._draft.problem(
                "storage-size-mismatch",
                f"{few([record.name])} has no bytes: torch puts {numel:,} zeros in their place",
            )
        else:
            span = self._archive.span_of(record)
            plain = span if record.method == STORED else None
            storage = Storage(identity, dtype, device, record.nbytes, plain)
        self._storages[record.name] = self._draft.storages[identity] = storage
        return storage


def _read_nested(source: Source, limits: Limits) -> Checkpoint:
    probe = Probe(source, limits)
    for name in _NESTED:
        reader = import_module(f"ckptaudit.readers.{name}")
        if reader.sniff(probe):
            return reader.read(probe)  # type: ignore[no-any-return]
    raise UnreadableError(source.path, "not a file that torch.save or pickle wrote")


def _sizes(value: Any) -> tuple[int, ...]:
    if type(value) is not list or len(value) > _MAX_DIMS:
        raise TensorError("sizes or strides that are no short list")
    return tuple(_size(size) for size in value)


def _size(value: Any) -> int:
    # {"as_int": 3}, or {"as_expr": {"expr_str": "s0", "hint": {"as_int": 3}}}
    for name in ("as_expr", "hint"):
        value = value.get(name, value) if type(value) is dict else value
    size = value.get("as_int") if type(value) is dict else None
    if type(size) is not int or not 0 <= size <= _MAX_INT64:
        raise TensorError("a size, stride or offset that is no number from 0 to 2**63-1")
    return size


def _device(value: Any) -> str:
    kind, index = (value.get("type"), value.get("index")) if type(value) is dict else (None, None)
    if type(kind) is not str:
        raise TensorError("no device")
    return f"{kind}:{index}" if type(index) is int else kind
