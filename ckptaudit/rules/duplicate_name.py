"""The rule `duplicate-name`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def duplicate_name(checkpoint: Checkpoint) -> Iterator[Finding]:
    """One name stands for two tensors.

    ## What it finds
    Names that a safetensors header or an index has twice, and tensors that several shards hold.

    ## Why it matters
    Which of the two counts is up to the loader: what was reviewed need not be what is loaded.

    ## Example
    `the header names 'lm_head.weight' twice; the last one counts`.

    ## What to do
    Save the checkpoint again, each tensor once.
    """
    yield from told(checkpoint, "duplicate-name", Severity.ERROR)
