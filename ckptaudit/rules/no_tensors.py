"""The rule `no-tensors`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.model import Checkpoint
from ckptaudit.text import plural


@rule("structure")
def no_tensors(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file holds no tensor at all.

    ## What it finds
    Checkpoints without a single tensor. Where arrays of numpy are in it, their number is told: they are no
    parameters to torch.

    ## Why it matters
    Nothing is wrong with it, and nothing is in it: every other rule is silent. Mostly the wrong object was
    saved, or a model whose layers stand in a plain list.

    ## Example
    `no tensor in the file, but 12 numpy arrays`.

    ## What to do
    Look what is in it with `ckptaudit inspect`, and save `model.state_dict()`.
    """
    whole = not any(problem.incomplete for problem in checkpoint.problems)
    if whole and not checkpoint.tensors:
        arrays = sum(str(leaf).startswith("numpy array") for leaf in checkpoint.extras.values())
        yield warning("no tensor in the file" + (f", but {plural(arrays, 'numpy array')}" if arrays else ""))
