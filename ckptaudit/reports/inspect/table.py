"""One row a tensor, for the formats that are tables."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.model import Checkpoint
from ckptaudit.reports.inspect.selection import Selection
from ckptaudit.summary import owner_of
from ckptaudit.text import dotted, integer, safe, shape

COLUMNS = (
    "path",
    "key",
    "dtype",
    "shape",
    "stride",
    "offset",
    "storage",
    "device",
    "kind",
    "requires_grad",
    "layout",
    "subclass",
    "nbytes",
    "state_dict",
)


def table(checkpoint: Checkpoint, selection: Selection) -> Iterator[tuple[str, ...]]:
    """The cells of every selected tensor, in the order of COLUMNS; safe to print, empty where unknown."""
    owner = owner_of(checkpoint)
    for tensor in selection.tensors(checkpoint):
        storage = checkpoint.storages.get(tensor.storage)
        holder = owner(tensor.path)
        cells = (
            dotted(tensor.path),
            tensor.key,
            tensor.dtype,
            "" if tensor.shape is None else shape(tensor.shape),
            shape(tensor.stride),
            integer(tensor.offset),
            tensor.storage,
            "" if storage is None else storage.device,
            tensor.kind,
            "" if tensor.requires_grad is None else str(tensor.requires_grad).lower(),
            tensor.layout,
            tensor.subclass or "",
            integer(tensor.nbytes),
            "" if holder is None else dotted(holder.root),
        )
        yield tuple(map(safe, cells))
