"""The rule `malformed-file`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def malformed_file(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file breaks the rules of its format: it is cut short, damaged or never was a checkpoint.

    ## What it finds
    Truncated and empty files, archives without a directory, headers that are no JSON, bytes that belong
    to no tensor or to two, pickles that end before their end, bytes that are no format at all.

    ## Why it matters
    Loaders fail on it, or worse, load a part of it. One cause is told once, however many tensors it
    concerns.

    ## Example
    `the file is truncated: the tensors end at byte 2,000 of the data, the file holds 1,024 bytes of it`.

    ## What to do
    Fetch or save it again, and compare its size and digest with the original.
    """
    yield from told(checkpoint, "malformed-file", Severity.ERROR)
