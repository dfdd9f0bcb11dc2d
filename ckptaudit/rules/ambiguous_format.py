"""The rule `ambiguous-format`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def ambiguous_format(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Loaders disagree on what this file is, or on which of its members counts.

    ## What it finds
    Two members of one name (case aside), a local header of a zip that contradicts its directory, a pickle
    in front of a zip, bytes that are valid safetensors and a running pickle at once.

    ## Why it matters
    What a scanner looks at is then not what a loader opens: `torch.load` finds `DATA.PKL` where others
    read `data.pkl`. No program that saves checkpoints writes such a file.

    ## Example
    `archive/data.pkl` holds plain weights, and `archive/DATA.PKL` beside it calls `os.system`.

    ## What to do
    Do not load it. Get the file again from where it was made, and compare its digest.
    """
    yield from told(checkpoint, "ambiguous-format", Severity.ERROR)
