"""What can only be told by looking at the bytes of tensors, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ckptaudit.errors import CkptAuditError
from ckptaudit.model import Checkpoint, Span, TensorMeta
from ckptaudit.source import LocalFile

_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Copies:
    """For each group of tensors whether all have equal bytes; None where that could not be told."""

    equal: tuple[bool | None, ...]


def compare_copies(checkpoint: Checkpoint, groups: Iterable[tuple[TensorMeta, ...]]) -> Copies:
    """Compare the tensors of each group byte by byte."""
    return Copies(tuple(_are_equal(checkpoint, group) for group in groups))


def _are_equal(checkpoint: Checkpoint, group: tuple[TensorMeta, ...]) -> bool | None:
    if len({(row.dtype, row.shape) for row in group}) > 1:
        return False
    spans = [span for row in group if (span := _span(checkpoint, row)) is not None]
    if len(spans) < len(group):
        return None
    try:
        return all(_have_equal_bytes(spans[0], other) for other in spans[1:])
    except CkptAuditError:
        return None  # the file has gone, or shrunk


def _span(checkpoint: Checkpoint, row: TensorMeta) -> Span | None:
    """Where the elements lie, one after the other; None where they do not, or are not there as they are."""
    storage = checkpoint.storages.get(row.storage)
    if storage is None or storage.span is None or row.shape is None or row.layout != "strided":
        return None
    step = 1
    for size, stride in zip(reversed(row.shape), reversed(row.stride), strict=True):
        if size != 1 and stride != step:
            return None
        step *= size
    if row.numel and not row.nbytes:  # a dtype of unknown width
        return None
    itemsize = row.nbytes // max(row.numel, 1)
    span = Span(storage.span.file, storage.span.start + row.offset * itemsize, row.nbytes)
    end = storage.span.start + storage.span.nbytes
    return span if storage.span.start <= span.start and span.start + span.nbytes <= end else None


def _have_equal_bytes(one: Span, other: Span) -> bool:
    with LocalFile(one.file) as left, LocalFile(other.file) as right:
        for at in range(0, one.nbytes, _CHUNK):
            size = min(_CHUNK, one.nbytes - at)
            if left.read(one.start + at, size) != right.read(other.start + at, size):
                return False
    return True
