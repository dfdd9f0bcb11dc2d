"""The rule `storage-size-mismatch`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def storage_size_mismatch(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The bytes of a storage are more or fewer than its type and number of elements make.

    ## What it finds
    Records whose size is not that of the storage they are meant for; offsets of safetensors that do not
    fit the shape.

    ## Why it matters
    Loaders trust one of the two numbers, and read other bytes than were meant.

    ## Example
    `record 'data/0' should have 400 bytes and has 200`.

    ## What to do
    Save the checkpoint again; a file that was edited by hand cannot be trusted.
    """
    yield from told(checkpoint, "storage-size-mismatch", Severity.ERROR)
