"""The rule `renamed-keys`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, note, rule
from ckptaudit.match import Match, Rename
from ckptaudit.text import listing, option, plural

_SHOWN = 6
_PASTED = 100


@rule("keys")
def renamed_keys(match: Match) -> Iterator[Finding]:
    """Missing keys are in the file under other names.

    ## What it finds
    With `--against`, prefixes, names of wrappers, and layers or blocks that bear other names, always
    between tensors of equal shape, and each tried out before it is told. A suggestion says how sure it
    is: *certain* where only a wrapper or one prefix of all names stands between them, *likely* where a
    prefix explains most of its keys, or a layer is the only one of its kind on both sides, *guess* where
    numbers in names change or shapes alone decide. What could be several things is listed and not guessed.
    The fix has no guesses.

    ## Why it matters
    It is the commonest reason for missing and unexpected keys, and the easiest to mend.

    ## Example
    `output.* -> out.* (likely, 2 keys); with it nothing is missing or unexpected`.

    ## What to do
    Give the mapping to `--map` to see what is left with it, and use it where the checkpoint is loaded:
    `data` has every pair of names.
    """
    if match.renames:
        pairs = {old: new for each in match.renames for old, new in each.pairs}
        told = "; ".join(_told(each) for each in match.renames[:_SHOWN])
        more = f"; and {len(match.renames) - _SHOWN:,} more" if len(match.renames) > _SHOWN else ""
        yield note(
            f"{told}{more}. {_verified(match)}",
            list(pairs),
            data={
                "renames": [
                    {"map": str(each.mapped), "confidence": each.sure, "keys": len(each.pairs)}
                    for each in match.renames
                ],
                "pairs": pairs,
                "left": dict(zip(("missing", "unexpected", "mismatched"), match.after, strict=True)),
            },
            fix=_fix(match),
        )
    if match.ambiguous:
        groups = [
            f"{listing(list(each.found))} could each be {listing(list(each.expected))}"
            for each in match.ambiguous
        ]
        yield note(
            f"not decided: {'; '.join(groups[:_SHOWN])}",
            [name for each in match.ambiguous for name in each.found],
            data={
                "ambiguous": [{"found": each.found, "expected": each.expected} for each in match.ambiguous]
            },
        )


def _fix(match: Match) -> str | None:
    """The mappings to paste, but for guesses; None where that would be more than a command line takes."""
    sure = [str(each.mapped) for each in match.renames if each.sure != "guess"]
    if len(sure) > _PASTED:
        return None
    return " ".join(filter(None, (option("--map", mapped) for mapped in sure))) or None


def _told(each: Rename) -> str:
    old, new = each.mapped
    arrow = f"{old}.* -> {new}.*" if old and new else f"{old}.* -> *" if old else f"* -> {new}.*"
    if len(each.pairs) == 1 and each.pairs[0] == (old, new):
        arrow = f"{old} -> {new}"
    return f"{arrow} ({each.sure}, {plural(len(each.pairs), 'key')})"


def _verified(match: Match) -> str:
    missing, unexpected, mismatched = match.after
    it = "With it, guesses included," if any(each.sure == "guess" for each in match.renames) else "With it"
    if not (missing or unexpected or mismatched):
        return f"{it} nothing is missing, unexpected or of another shape"
    return f"{it} {missing:,} missing, {unexpected:,} unexpected and {mismatched:,} of another shape are left"
