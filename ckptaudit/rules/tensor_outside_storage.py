"""The rule `tensor-outside-storage`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def tensor_outside_storage(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A tensor looks at bytes beyond the end of its storage.

    ## What it finds
    Shapes, strides and offsets that reach further than the storage behind them; offsets of safetensors
    beyond the end of the file.

    ## Why it matters
    A loader that does not check it hands out other memory of the process. torch refuses most of them.

    ## Example
    `'w' [100, 100] needs 40,000 bytes of storage '0', which has 400`.

    ## What to do
    Do not load it. Save the checkpoint again.
    """
    yield from told(checkpoint, "tensor-outside-storage", Severity.ERROR)
