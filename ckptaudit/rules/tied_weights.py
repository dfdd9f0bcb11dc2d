"""The rule `tied-weights`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, note, rule
from ckptaudit.model import Checkpoint
from ckptaudit.summary import Group, alias_name
from ckptaudit.text import listing, size


@rule("structure")
def tied_weights(checkpoint: Checkpoint, tied: tuple[Group, ...]) -> Iterator[Finding]:
    """Several keys are one tensor: they share their memory.

    ## What it finds
    Tensors that view the same bytes alike. Layers of equal shape, or one layer that a model calls twice,
    are no tie.

    ## Why it matters
    Counted by keys, the model looks larger than it is. Formats without ties (safetensors) lose one of the
    names or store the tensor twice, and training goes on with two.

    ## Example
    `wte.weight = lm_head.weight: one storage, 2 keys`.

    ## What to do
    Nothing, where the model ties them on purpose. With `--against` the ties of the model are compared.
    """
    if not tied:
        return
    names = alias_name(checkpoint)
    for group in tied:
        keys = names(group)
        saved = size(group[0].nbytes * (len(keys) - 1))
        yield note(
            f"{listing(keys, 8).replace(', ', ' = ')}: one storage, {len(keys)} keys, {saved} saved", keys
        )
