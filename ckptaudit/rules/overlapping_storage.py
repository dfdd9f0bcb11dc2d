"""The rule `overlapping-storage`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.model import Checkpoint
from ckptaudit.summary import Group, alias_name
from ckptaudit.text import listing


@rule("structure")
def overlapping_storage(checkpoint: Checkpoint, overlapping: tuple[Group, ...]) -> Iterator[Finding]:
    """Tensors share some of their bytes, and are not the same tensor.

    ## What it finds
    Views of one memory that overlap and differ in where they begin, in shape, stride or dtype: a slice
    saved beside the whole, a transposed view beside the original.

    ## Why it matters
    A change to one changes the other. Other formats cannot keep it: safetensors refuses such tensors, and
    a copy breaks what the code may rely on.

    ## Example
    `qkv.weight and q.weight share bytes`.

    ## What to do
    Save `tensor.clone()` where they are meant to be apart, or only the whole one.
    """
    if not overlapping:
        return
    names = alias_name(checkpoint)
    for group in overlapping:
        keys = names(group)
        yield warning(
            f"{listing(keys, 8)} share bytes of one storage, and are not alike",
            keys,
            fix="save clones of them",
        )
