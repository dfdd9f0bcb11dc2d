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
    first, *others = (_span(checkpoint, row) for row in group)
    if len({(row.dtype, row.shape) for row in group}) > 1:
        return False
    if first is None or not all(others):
        return None
    try:
        return all(_have_equal_bytes(first, other) for other in others if other is not None)
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
    itemsize = row.nbytes // max(row.numel, 1)
    span = Span(storage.span.file, storage.span.start + row.offset * itemsize, row.nbytes)
    inside = span.start + span.nbytes <= storage.span.start + storage.span.nbytes
    return span if inside else None


def _have_equal_bytes(one: Span, other: Span) -> bool:
    with LocalFile(one.file) as left, LocalFile(other.file) as right:
        for at in range(0, one.nbytes, _CHUNK):
            size = min(_CHUNK, one.nbytes - at)
            if left.read(one.start + at, size) != right.read(other.start + at, size):
                return False
    return True
