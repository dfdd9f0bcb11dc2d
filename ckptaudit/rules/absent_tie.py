"""The rule `absent-tie`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, note, rule
from ckptaudit.match import Match
from ckptaudit.text import plural, some


@rule("keys")
def absent_tie(match: Match) -> Iterator[Finding]:
    """A missing key is tied to one that is there: nothing is lost.

    ## What it finds
    With `--against`, keys of the reference that the file lacks, while another name of the same tensor is
    in it. safetensors keeps one name of each tie.

    ## Why it matters
    `load_state_dict(strict=True)` complains about the key all the same, although every weight is there.

    ## Example
    `lm_head.weight is not in the file, and is wte.weight in the model`.

    ## What to do
    Load with `safetensors.torch.load_model`, or with `strict=False` where nothing else is missing.
    """
    if match.absent_ties:
        told = [f"{key} (= {present})" for key, present in match.absent_ties]
        verb = "is" if len(told) == 1 else "are"
        yield note(
            f"{plural(len(told), 'tied key')} {verb} not in the file, and the tensor is: {some(told)}",
            [key for key, _ in match.absent_ties],
        )
