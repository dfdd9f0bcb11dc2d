"""The rule `storage-type-mismatch`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def storage_type_mismatch(checkpoint: Checkpoint) -> Iterator[Finding]:
    """One storage is used under two types, devices or sizes.

    ## What it finds
    A key of a storage that the pickle names twice, and differently.

    ## Why it matters
    torch keeps the first it meets, and reinterprets the bytes for the second. `torch.save` never writes
    this.

    ## Example
    `storage '3' is 400 bytes of float32 on cpu at first, then 400 bytes of int32 on cpu`.

    ## What to do
    Save the checkpoint again.
    """
    yield from told(checkpoint, "storage-type-mismatch", Severity.ERROR)
