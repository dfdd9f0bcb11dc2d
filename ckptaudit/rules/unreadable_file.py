"""The rule `unreadable-file`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def unreadable_file(checkpoint: Checkpoint) -> Iterator[Finding]:
    """There is no such file, or no right to read it, or no such state dict in it.

    ## What it finds
    Wrong paths, folders without a checkpoint or with several, pipes and devices, `PATH::NAME` where no
    state dict is called NAME.

    ## Why it matters
    Nothing was audited. The other paths of the call were.

    ## Example
    `weights/model.pt: No such file or directory; check the path`.

    ## What to do
    Correct the path. A glob in quotes is expanded by ckptaudit itself, `**` included.
    """
    yield from told(checkpoint, "unreadable-file", Severity.ERROR)
