"""The rule `missing-keys`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, note, rule
from ckptaudit.match import Match
from ckptaudit.text import plural, shape, some


@rule("keys")
def missing_keys(match: Match) -> Iterator[Finding]:
    """Keys that the model expects are not in the file.

    ## What it finds
    With `--against`, keys of the reference that the checkpoint lacks, and whose memory is not there under
    a tied name either. `num_batches_tracked`, which old batch norms did not save and torch fills in, is a
    note.

    ## Why it matters
    `load_state_dict` fails; with `strict=False` these weights stay as they were initialized.

    ## Example
    `2 keys that MLP expects are not in the file: out.weight [10, 256], out.bias [10]`.

    ## What to do
    See `renamed-keys`, where the file has them under other names. Else save the model from the code that
    loads it.
    """
    if match.missing:
        expected = match.blueprint.tensors
        shown = [f"{key} {shape(expected[key].shape)}" if key in expected else key for key in match.missing]
        verb = "is" if len(match.missing) == 1 else "are"
        count = plural(len(match.missing), "key")
        yield error(
            f"{count} that {match.blueprint.name} expects {verb} not in the file: "
            f"{some(shown)}{_renamed(match)}",
            match.missing,
        )
    if match.tolerated:
        yield note(
            f"{plural(len(match.tolerated), 'counter')} of an old batch norm not in the file, which torch "
            f"fills in: {some(match.tolerated)}",
            match.tolerated,
        )


def _renamed(match: Match) -> str:
    """How many of the missing keys are there under another name."""
    part = len({new for each in match.renames for _, new in each.pairs} & set(match.missing))
    if not part:
        return ""
    whole = len(match.missing)
    which = f"{part:,} of them" if part < whole else "all of them" if whole > 1 else "it"
    return f"; {which} {'is' if part == 1 else 'are'} there under another name (renamed-keys)"
