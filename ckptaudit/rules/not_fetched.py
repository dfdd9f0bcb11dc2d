"""The rule `not-fetched`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def not_fetched(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file is a git-LFS pointer: the checkpoint itself is not here.

    ## What it finds
    Text of three lines that stands for a file in git-LFS, also as a shard of an index.

    ## Why it matters
    What is merged is the file that the pointer stands for. It was not audited: neither good nor bad.

    ## Example
    A checkout without `git lfs pull` has pointers of 130 bytes where weights should be.

    ## What to do
    Run `git lfs pull` before the check, and `lfs: true` in a checkout action.
    """
    yield from told(checkpoint, "not-fetched", Severity.ERROR)
