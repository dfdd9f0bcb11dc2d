"""The rule `weights-only-refused`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, note, rule
from ckptaudit.model import Checkpoint
from ckptaudit.text import listing, plural

# Other formats are not meant for torch.load: that it refuses them says nothing about the file.
_FORMATS = ("torch-zip", "torch-legacy", "torch-tar", "sharded")


@rule("trust")
def weights_only_refused(checkpoint: Checkpoint) -> Iterator[Finding]:
    """`torch.load(weights_only=True)`, the default since torch 2.6, refuses this file.

    ## What it finds
    What torch 2.13 answers, worked out without torch: every name that
    `torch.serialization.add_safe_globals` would have to be given, all at once, where torch names one at a
    time; and what allowing names does not cure.

    ## Why it matters
    Users meet the refusal on their machine, and turn to `weights_only=False`, which runs whatever a file
    says.

    ## Example
    `torch.load(weights_only=True) refuses it: argparse.Namespace is not allowed`.

    ## What to do
    Save plain values in place of the objects, or allow the names where you trust them: the finding's
    `fix` can be pasted. `data` has the whole list.
    """
    if checkpoint.weights_only is not False or checkpoint.format not in _FORMATS:
        return
    if any(problem.incomplete for problem in checkpoint.problems):
        return  # told already, as what it is
    names, refusals = list(checkpoint.to_allow), list(checkpoint.refusals)
    reasons = [f"it does not allow {listing(names)}"] if names else []
    reasons += refusals[:1] + ([f"{plural(len(refusals) - 1, 'other reason')}"] if refusals[1:] else [])
    yield note(
        f"torch.load(weights_only=True) refuses it: {'; '.join(reasons) or 'the file is broken'}",
        names,
        data={"to_allow": names, "refusals": refusals},
        fix=_allowing(names) if names and not refusals else None,
    )


def _allowing(names: list[str]) -> str | None:
    # What is pasted into Python must be names and nothing else.
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        return None
    return f"torch.serialization.add_safe_globals([{', '.join(names)}])"
