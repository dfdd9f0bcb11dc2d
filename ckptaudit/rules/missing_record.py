"""The rule `missing-record`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def missing_record(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A tensor refers to bytes that are not in the file.

    ## What it finds
    Storages without a record in the archive, or archives without the records that every one of them has.

    ## Why it matters
    `torch.load` fails on it. It comes of archives that were packed again by hand, or of a `data.pkl` that
    was taken out of its archive.

    ## Example
    `no record 'data/7', of storage '7'`.

    ## What to do
    Save the checkpoint again with `torch.save`.
    """
    yield from told(checkpoint, "missing-record", Severity.ERROR)
