"""The rule `index-mismatch`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint

# What loaders do not look at, and so what does not keep a file from being loaded.
_IDLE = ("total_size", "extra shard")


@rule("integrity")
def index_mismatch(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The index of a sharded checkpoint and its shards contradict one another.

    ## What it finds
    Shards that are absent, paths that lead out of the folder, tensors that stand in another shard than
    the index says, in none, or in no list; a total size that is not theirs, and further shards in the
    folder that the index does not name (these two as warnings: no loader looks).

    ## Why it matters
    Nobody validates an index: hubs leave it to whoever loads. A tensor that the index does not list stays
    at its random initial values without a word.

    ## Example
    `2 tensors in a shard but not in the index: 'lm_head.weight', 'lm_head.bias'`.

    ## What to do
    Save all shards and the index again in one go, and remove what is left of an earlier save.
    """
    for finding in told(checkpoint, "index-mismatch", Severity.ERROR):
        is_idle = finding.keys and set(finding.keys) <= set(_IDLE)
        yield replace(finding, severity=Severity.WARNING) if is_idle else finding
