"""A checkpoint as a reference: what it holds is what is expected of others."""

from __future__ import annotations

import os

from ckptaudit.blueprint import Blueprint, Expected
from ckptaudit.errors import UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint
from ckptaudit.saved import Saved, saved
from ckptaudit.summary import ties


def load(reference: str, limits: Limits | None = None) -> Blueprint:
    """The blueprint of the checkpoint at a path; `PATH::NAME` takes one state dict of several.

    Raises CkptAuditError where it cannot be read, or only in part.
    """
    checkpoint = read_at(reference, limits)
    broken = next((problem for problem in checkpoint.problems if problem.incomplete), None)
    if broken is not None:
        raise UnreadableError(reference, f"not read completely, so that it is no reference: {broken.detail}")
    found = of_checkpoint(checkpoint, reference)
    if not found.tensors and not found.lost:
        raise UnreadableError(reference, "holds no tensor: there is nothing to compare with")
    return found


def of_checkpoint(checkpoint: Checkpoint, reference: str) -> Blueprint:
    """What the model of a checkpoint expects. Raises SelectionError where it holds several."""
    own = saved(checkpoint)
    expected = {key: Expected(row.shape, row.dtype) for key, row in own.tensors.items()}
    return Blueprint(
        reference, _name(own, reference), expected, _ties(checkpoint, own), own.other_keys, own.lost
    )


def _name(own: Saved, reference: str) -> str:
    top = own.modules.get("")
    if top is not None and top.cls:
        return top.cls.rpartition(".")[2]
    return os.path.basename(reference.rstrip("/"))


def _ties(checkpoint: Checkpoint, own: Saved) -> tuple[tuple[str, ...], ...]:
    names = {row.path: key for key, row in own.tensors.items()}
    groups = (tuple(names[row.path] for row in group if row.path in names) for group in ties(checkpoint))
    return tuple(group for group in groups if len(group) > 1)
