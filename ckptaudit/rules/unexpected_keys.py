"""The rule `unexpected-keys`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, note, rule
from ckptaudit.match import Match
from ckptaudit.text import plural, shape, some


@rule("keys")
def unexpected_keys(match: Match) -> Iterator[Finding]:
    """The file has keys that the model does not know.

    ## What it finds
    With `--against`, keys of the checkpoint that are not in the reference; and keys that `--map` would
    give a name that another key has, which stay as they are. A mapping that fits no key is a note.

    ## Why it matters
    `load_state_dict` fails; with `strict=False` these weights are dropped without a word.

    ## Example
    `2 keys that MLP does not expect: output.weight [10, 256], output.bias [10]`.

    ## What to do
    See `renamed-keys`, where the model knows them under other names. Where the file holds more on
    purpose, leave the rule out for it.
    """
    if match.unexpected:
        rows = match.rows
        shown = [f"{key} {shape(rows[key].shape)}" if key in rows else key for key in match.unexpected]
        count = plural(len(match.unexpected), "key")
        yield error(
            f"{count} that {match.blueprint.name} does not expect: {some(shown)}",
            match.unexpected,
        )
    if match.refused:
        pairs = [f"{old} as {new}" for old, new in match.refused]
        yield error(
            f"the mapping would put two tensors under one name: {some(pairs)}",
            [old for old, _ in match.refused],
        )
    if match.unused:
        yield note(f"no key of the file fits the mapping {', '.join(match.unused)}", match.unused)
