"""The rule `internal-error`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def internal_error(checkpoint: Checkpoint) -> Iterator[Finding]:
    """ckptaudit itself failed on this file.

    ## What it finds
    An exception that it should never raise. The other files were audited.

    ## Why it matters
    It says nothing about the file, good or bad.

    ## Example
    `internal error (KeyError: 'x'); please report it, with the file`.

    ## What to do
    Please report it, with the file if you can.
    """
    yield from told(checkpoint, "internal-error", Severity.ERROR)
