"""The rule `diverged-tie`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, note, rule, warning
from ckptaudit.match import Match
from ckptaudit.text import size
from ckptaudit.values import Copies


@rule("keys")
def diverged_tie(match: Match, copies: Copies) -> Iterator[Finding]:
    """The model ties two keys, and the file holds two different tensors for them.

    ## What it finds
    With `--against`, keys that are one tensor in the reference and several in the file, whose bytes were
    compared and differ. Where they are equal it is a note: the tie is stored twice.

    ## Why it matters
    `load_state_dict` copies both into the one tensor of the model: the last one wins, "All keys matched"
    is printed, and outputs are not those of the model that was saved.

    ## Example
    `wte.weight and lm_head.weight are one tensor in GPT, and differ in the file`.

    ## What to do
    Find out which of the two is the right one, and save that from a model whose tie is intact.
    """
    for group, equal in zip(match.diverged, copies.equal, strict=True):
        keys = [row.key for row in group]
        names = " and ".join(keys)
        one = f"one tensor in {match.blueprint.name}"
        if equal is None:
            yield warning(f"{names}: {one}, several in the file, whose bytes could not be compared", keys)
        elif equal:
            wasted = size(sum(row.nbytes for row in group[1:]))
            yield note(f"{names}: {one}, stored {len(keys)} times with equal bytes ({wasted} more)", keys)
        else:
            yield error(
                f"{names}: {one}, and they differ in the file: the last one loaded would win",
                keys,
                fix="save again from a model whose tie is intact",
            )
