"""What a model expects of a checkpoint: keys, shapes, dtypes, ties. One kind of reference a file.

A reference is another checkpoint, a lock file that `ckptaudit lock` wrote, or `module:pkg.mod:factory`, the
caller's own code. `load` tells them apart by content, never by suffix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from ckptaudit.isolated import SECONDS
from ckptaudit.limits import Limits
from ckptaudit.model import DTYPE_BITS
from ckptaudit.saved import Lost

MODULE = "module:"


class Expected(NamedTuple):
    """One key of the model's state dict; `shape` is None where it is not known yet (a lazy parameter)."""

    shape: tuple[int, ...] | None
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes that such a tensor takes; 0 for a shape or dtype that is not known."""
        return self.numel * DTYPE_BITS.get(self.dtype, 0) // 8

    @property
    def numel(self) -> int:
        """Number of elements; 0 for a shape that is not known."""
        count = 1 if self.shape is not None else 0
        for size in self.shape or ():
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What the model named `name` expects; `reference` is where that was read from.

    `ties` are groups of keys that share memory, `other_keys` keys that hold no tensor (`_extra_state`),
    `lost` the tensors that the model owns and no state dict of it holds.
    """

    reference: str
    name: str
    tensors: Mapping[str, Expected]
    ties: tuple[tuple[str, ...], ...] = ()
    other_keys: tuple[str, ...] = ()
    lost: Mapping[str, Lost] = field(default_factory=dict)


def load(
    reference: str, limits: Limits | None = None, seconds: float = SECONDS, folder: str = ""
) -> Blueprint:
    """Read a reference: a path (`PATH::NAME` for one state dict of several), or `module:pkg.mod:factory`.

    Only the last one runs code: the caller's own, in a child process that is ended after `seconds`,
    and that starts in `folder`, or in the current one.
    Raises CkptAuditError where the reference cannot be read, or the code does not give a model.
    """
    if reference.startswith(MODULE):
        return _kind("module").load(reference, seconds, folder)  # type: ignore[no-any-return]
    lock = _kind("lock").load(reference, limits or Limits())
    return lock or _kind("checkpoint").load(reference, limits)  # type: ignore[no-any-return]


def _kind(name: str) -> Any:
    return import_module(f"ckptaudit.blueprint.{name}")
