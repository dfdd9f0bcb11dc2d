"""The rule `lost-on-save`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptaudit.audit import Finding, error, note, rule, warning
from ckptaudit.match import Match
from ckptaudit.saved import Lost, Saved
from ckptaudit.text import plural, shape, some

_MEANT = {
    "in a plain container": "use nn.ModuleList, nn.ModuleDict or nn.ParameterList",
    "plain attribute": "use register_buffer",
    "non-persistent buffer": "use register_buffer(..., persistent=True), if it is not computed anew",
}


@rule("keys")
def lost_on_save(own: Saved, match: Match | None = None) -> Iterator[Finding]:
    """Tensors that the model owns are in none of its state dicts.

    ## What it finds
    With `--against` code, or a file that holds a whole module: tensors that are plain attributes (a
    warning), modules and parameters in plain lists and dicts (an error: what was trained there is lost),
    and buffers that are not persistent (a note). In a file that holds a whole module itself, all of them
    are notes: they are in this file, and would not be in its state dict.

    ## Why it matters
    "All keys matched" is printed, and outputs differ: the tensor has other values in every new model.

    ## Example
    `1 tensor of FixedHiddenMLP is in no state dict: rand_weight [20, 20], a plain attribute`.

    ## What to do
    Register it: `register_buffer` for constants, `nn.ModuleList` and `nn.ParameterList` for lists.
    """
    if match is not None and match.blueprint.lost:
        lost = {key: each for key, each in match.blueprint.lost.items() if key not in match.rows}
        yield from _findings(lost, f"of {match.blueprint.name}", own_file=False)
    elif own.lost:
        yield from _findings(own.lost, "in this file", own_file=True)


def _findings(lost: Mapping[str, Lost], whose: str, *, own_file: bool) -> Iterator[Finding]:
    kinds: dict[str, list[str]] = {}
    for key, each in lost.items():
        kinds.setdefault(each.why, []).append(key)
    for why, keys in kinds.items():
        level = {"in a plain container": error, "plain attribute": warning}.get(why, note)
        shown = [f"{key} {shape(lost[key].shape)}" for key in keys]
        verb = "is" if len(keys) == 1 else "are"
        state = "would be in no state dict" if own_file else f"{verb} in no state dict"
        what = (
            why
            if why.startswith("in ")
            else f"{'a ' if len(keys) == 1 else ''}{why}{'' if len(keys) == 1 else 's'}"
        )
        yield (note if own_file else level)(
            f"{plural(len(keys), 'tensor')} {whose} {state}: {some(shown)}, {what}",
            keys,
            data={"why": why},
            fix=_MEANT[why],
        )
