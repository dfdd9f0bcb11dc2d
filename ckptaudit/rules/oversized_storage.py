"""The rule `oversized-storage`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.model import Checkpoint, Storage, TensorMeta
from ckptaudit.summary import bytes_viewed
from ckptaudit.text import listing, percent, plural, size

# Allocators round up; a storage that is a little larger than its tensors is no slice.
_SLACK = 512
_LEAST_SHARE = 0.01


@rule("structure")
def oversized_storage(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A slice drags its whole storage into the file: bytes are saved that no tensor looks at.

    ## What it finds
    Storages of which the tensors in the file view a part only. `torch.save` writes storages as a whole,
    however little of one a tensor shows.

    ## Why it matters
    The file is larger than it has to be, and holds data that was never meant to be in it: the rest of a
    batch, of an embedding, of other people's rows.

    ## Example
    `embedding.weight shows 4.0 KiB of its storage of 400.0 MiB`.

    ## What to do
    Save `tensor.clone()`.
    """
    views: dict[str, list[TensorMeta]] = {}
    for tensor in checkpoint.tensors.values():
        views.setdefault(tensor.storage, []).append(tensor)
    wasteful = []
    for name, tensors in views.items():
        storage = checkpoint.storages.get(name)
        wasted = 0 if storage is None or storage.span is None else _wasted(storage, tensors)
        if wasted:
            wasteful.append((wasted, tensors))
    if wasteful:
        wasteful.sort(key=lambda pair: -pair[0])
        yield _finding(checkpoint, wasteful)


def _wasted(storage: Storage, tensors: list[TensorMeta]) -> int:
    if len(tensors) == 1 and tensors[0].nbytes == storage.nbytes:
        return 0
    if any(tensor.layout != "strided" or tensor.subclass for tensor in tensors):
        return 0  # what such a tensor keeps is not told by its shape
    wasted = storage.nbytes - bytes_viewed(tensors)
    return wasted if wasted > max(_SLACK, _LEAST_SHARE * storage.nbytes) else 0


def _finding(checkpoint: Checkpoint, wasteful: list[tuple[int, list[TensorMeta]]]) -> Finding:
    total = sum(wasted for wasted, _ in wasteful)
    keys = [tensor.key for _, tensors in wasteful for tensor in tensors]
    _, first = wasteful[0]
    whole = checkpoint.storages[first[0].storage].nbytes
    shown = size(whole - wasteful[0][0])
    more = f"; with {plural(len(wasteful) - 1, 'more storage')} it is {size(total)}" if wasteful[1:] else ""
    share = percent(total, max(checkpoint.nbytes, total))
    return warning(
        f"{listing([tensor.key for tensor in first])}: {shown} of a storage of {size(whole)} are looked at, "
        f"{size(wasteful[0][0])} wasted{more} ({share} of the file)",
        keys,
        span=checkpoint.storages[first[0].storage].span,
        data={"wasted_bytes": total, "storages": len(wasteful)},
        fix="save tensor.clone() instead of the slice",
    )
