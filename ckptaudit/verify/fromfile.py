"""Whether a loaded model holds what the file holds, told from the bytes of the file alone."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from ckptaudit.model import Checkpoint, Span, TensorMeta
from ckptaudit.saved import saved
from ckptaudit.source import LocalFile
from ckptaudit.verify.facts import Weight

_CHUNK = 2**20
_LOADED = ("from_file", "from_tie")


def unlike_file(
    checkpoint: Checkpoint, renamed: Mapping[str, str], weights: Mapping[str, Weight]
) -> tuple[str, ...]:
    """The keys that count as loaded and whose values in the model are others than under that key in the file.

    Where a model ties what the file holds twice, one of the two is lost; what lies strided is not looked at.
    """
    found = []
    for key, row in saved(checkpoint).tensors.items():
        weight = weights.get(renamed.get(key, key))
        if weight is None or weight.source not in _LOADED or weight.dtype != row.dtype:
            continue
        span = _span(checkpoint, row)
        if span is not None and _digest(span) != weight.digest:
            found.append(key)
    return tuple(found)


def _span(checkpoint: Checkpoint, row: TensorMeta) -> Span | None:
    """Where the elements lie in the file, if row by row."""
    storage = checkpoint.storages.get(row.storage)
    if storage is None or storage.span is None or row.shape is None or row.layout != "strided":
        return None
    step = 1
    for size, stride in zip(reversed(row.shape), reversed(row.stride), strict=True):
        if size != 1 and stride != step:
            return None
        step *= size
    if not row.numel or not row.nbytes:
        return None
    return Span(storage.span.file, storage.span.start + row.offset * (row.nbytes // row.numel), row.nbytes)


def _digest(span: Span) -> str:
    found = sha256()
    with LocalFile(span.file) as file:
        for at in range(0, span.nbytes, _CHUNK):
            found.update(file.read(span.start + at, min(_CHUNK, span.nbytes - at)))
    return found.hexdigest()
