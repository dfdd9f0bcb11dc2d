"""From a checkpoint back to an nn.Module: needs torch, and still runs nothing that the file holds.

Classes of torch.nn are built by torch itself, from names and numbers in the file; the user's own classes are
skeletons, whose `forward` says what is unknown, unless the caller gives the model: `rebuild(path,
model=Net)`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ckptaudit.errors import CkptAuditError
from ckptaudit.locate import read_at
from ckptaudit.rebuild.plan import Plan
from ckptaudit.rebuild.result import Origin, Rebuilt, Share
from ckptaudit.saved import Saved, saved
from ckptaudit.text import dotted, plural

if TYPE_CHECKING:
    from torch import nn

    from ckptaudit.limits import Limits
    from ckptaudit.model import Checkpoint
    from ckptaudit.rebuild.place import Unplaced

__all__ = ["Origin", "Plan", "Rebuilt", "Share", "plan", "rebuild"]


class NoTorchError(CkptAuditError):
    """torch is not installed."""


class BuildError(CkptAuditError):
    """A file tells of what torch cannot make: sizes beyond counting, settings that exclude each other."""

    code = "malformed-file"


def plan(checkpoint: Checkpoint) -> Plan:
    """What is to be built for the model in `checkpoint`; needs no torch.

    Raises SelectionError where several state dicts could be the model.
    """
    return _plan(checkpoint, saved(checkpoint))


def rebuild(
    checkpoint: Checkpoint | str,
    *,
    model: nn.Module | Callable[[], nn.Module] | None = None,
    maps: Iterable[str] = (),
    device: str = "cpu",
    limits: Limits | None = None,
) -> Rebuilt:
    """The model of `checkpoint` (one that was read, or `PATH`, or `PATH::NAME`), loaded and on `device`.

    `model` is the caller's own architecture: a module, or what returns one. `maps` rename keys of the file
    (`OLD=NEW`) before they are loaded into it. `device` is "cpu", "cuda", "cuda:1", or "auto": a GPU where
    there is one. Raises CkptAuditError where the file cannot be read, torch is not installed, there is no
    such device, or a map makes no sense.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        name = checkpoint if isinstance(checkpoint, str) else checkpoint.path
        raise NoTorchError(name, "torch is not installed", remedy="pip install 'ckptaudit[torch]'") from None
    from ckptaudit.rebuild.place import device_named

    there = device_named(device)
    if isinstance(checkpoint, str):
        checkpoint = read_at(checkpoint, limits)
    own = saved(checkpoint)
    if model is None:
        return _from_file(checkpoint, own, there)
    from ckptaudit.rebuild.own import load_into

    return load_into(model, checkpoint, own, tuple(maps), there)


def _plan(checkpoint: Checkpoint, own: Saved) -> Plan:
    if own.is_module:
        from ckptaudit.rebuild.exact import plan_exact

        return plan_exact(checkpoint, own)
    from ckptaudit.rebuild.skeleton import plan_skeleton

    return plan_skeleton(checkpoint, own)


def _from_file(checkpoint: Checkpoint, own: Saved, device: str) -> Rebuilt:
    """The module that the file alone tells."""
    planned = _plan(checkpoint, own)
    try:
        return _built(checkpoint, own, planned, device)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        told = str(error).partition("\n")[0]
        raise BuildError(checkpoint.path, f"torch cannot hold what it tells of: {told}") from error


def _built(checkpoint: Checkpoint, own: Saved, planned: Plan, device: str) -> Rebuilt:
    from ckptaudit.rebuild.build import build, cannot_run, fill
    from ckptaudit.rebuild.place import moved, place

    tensors, left = place(checkpoint, planned.tensors, device)
    unsaved, lost = place(checkpoint, planned.unsaved, device)
    module = build(planned)
    # What cannot be had stays on the meta device: it has a shape, and running it fails.
    bare = {key: each for key, each in module.state_dict().items() if key in planned.tensors}
    fill(module, planned, {**bare, **tensors}, unsaved, planned.extra)
    return Rebuilt(
        module=module,
        checkpoint=checkpoint.path,
        picked=dotted(own.root or ()),
        level=planned.level,
        plan=planned,
        origins=_origins(planned, tensors),
        device=device,
        ties=planned.ties,
        lost_on_save={name: lost.why for name, lost in own.lost.items()},
        non_persistent=tuple(name for name, each in own.lost.items() if each.why == "non-persistent buffer"),
        hooks=tuple(_listed(planned, "hooks")),
        odd=tuple(_listed(planned, "odd")),
        moved=moved(checkpoint, planned.tensors.values(), device),
        unloaded=_unloaded(own, (*left, *lost)),
        cannot_run=(*_without_values(planned, tensors), *cannot_run(module)),
    )


def _unloaded(own: Saved, left: tuple[Unplaced, ...]) -> dict[str, str]:
    """What the file holds and the module has not, each with the reason."""
    stray = {
        name: "in a plain container, which no module registers"
        for name, lost in own.lost.items()
        if lost.why == "in a plain container"
    }
    return {**stray, **{each.key: each.reason for each in left}}


def _origins(planned: Plan, tensors: dict[str, Any]) -> dict[str, Origin]:
    again = {key for group in planned.ties for key in group[1:]}
    return {
        key: Origin(
            "from_init" if key not in tensors else "from_tie" if key in again else "from_file", row.nbytes
        )
        for key, row in planned.tensors.items()
    }


def _without_values(planned: Plan, tensors: dict[str, Any]) -> tuple[str, ...]:
    lazy = sum(row.shape is None for row in planned.tensors.values())
    empty = len(planned.tensors) - len(tensors) - lazy
    told = ((lazy, "lazy parameter", "no shape yet"), (empty, "tensor", "no values"))
    return tuple(f"{plural(count, noun)} with {what}" for count, noun, what in told if count)


def _listed(planned: Plan, field: str) -> list[str]:
    return [
        f"{path}: {name}" if path else name
        for path, part in planned.parts.items()
        for name in getattr(part, field)
    ]


class _Callable(ModuleType):
    __call__ = staticmethod(rebuild)


# `ckptaudit.rebuild(path)`:
# https://docs.python.org/3/reference/datamodel.html#customizing-module-attribute-access
sys.modules[__name__].__class__ = _Callable
