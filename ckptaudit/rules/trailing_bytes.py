"""The rule `trailing-bytes`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def trailing_bytes(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Bytes follow the end of the checkpoint that no loader of it reads.

    ## What it finds
    Anything after the end of a zip archive, after the last storage of a legacy file, after the STOP of a
    pickle, after the last tensor of a safetensors file.

    ## Why it matters
    They can hold another file, which another program finds there. safetensors refuses the file for it.

    ## Example
    `1,024 bytes after the end of the archive`.

    ## What to do
    Save the checkpoint again: the bytes are then gone.
    """
    refused = checkpoint.format == "safetensors"
    yield from told(checkpoint, "trailing-bytes", Severity.ERROR if refused else Severity.WARNING)
