"""What came of rebuilding as plain values: the document that `rebuild --format json` prints.

It can cross from a child process to its parent; the text report is written from it, too.
"""

from __future__ import annotations

from typing import Any

from ckptaudit.rebuild.plan import Part
from ckptaudit.rebuild.result import Rebuilt

SCHEMA = "ckptaudit.rebuild/1"


def document(rebuilt: Rebuilt) -> dict[str, Any]:
    """The document of one rebuilt model."""
    loaded = rebuilt.loaded
    return {
        "schema": SCHEMA,
        "path": rebuilt.checkpoint,
        "picked": rebuilt.picked,
        "level": rebuilt.level,
        "class": _class(rebuilt),
        "modules": [_module(part) for part in rebuilt.plan.parts.values()] if rebuilt.plan else _own(rebuilt),
        "ties": [list(group) for group in rebuilt.ties],
        "loaded": {
            source: {"tensors": share.tensors, "bytes": share.nbytes} for source, share in loaded.items()
        },
        "missing": list(rebuilt.missing),
        "unexpected": list(rebuilt.unexpected),
        "mismatched": list(rebuilt.mismatched),
        "unloaded": dict(rebuilt.unloaded),
        "renamed": dict(rebuilt.renamed),
        "suggested": list(rebuilt.suggested),
        "lost_on_save": dict(rebuilt.lost_on_save),
        "non_persistent": list(rebuilt.non_persistent),
        "hooks": list(rebuilt.hooks),
        "odd": list(rebuilt.odd),
        "devices": {
            rebuilt.device: {
                "tensors": sum(share.tensors for share in loaded.values()),
                "bytes": sum(share.nbytes for share in loaded.values()),
            }
        },
        "moved": dict(rebuilt.moved),
        "problems": list(rebuilt.problems),
        "cannot_run": list(rebuilt.cannot_run),
        "fits": rebuilt.fits,
    }


def _class(rebuilt: Rebuilt) -> str | None:
    root = rebuilt.plan.parts.get("") if rebuilt.plan else None
    if rebuilt.plan is not None:
        return None if root is None else root.cls or root.layer
    return _name(rebuilt.module)


def _module(part: Part) -> dict[str, Any]:
    return {
        "path": part.path,
        "class": part.cls,
        "config": {**part.arguments, **part.settings},
        "training": part.training,
        "layer": part.layer,
        "confidence": part.confidence,
        "alternatives": list(part.alternatives),
        "unknown": list(part.unknown),
    }


def _own(rebuilt: Rebuilt) -> list[dict[str, Any]]:
    """The modules of the caller's own architecture."""
    found = []
    for path, module in rebuilt.module.named_modules(remove_duplicate=False):
        known = type(module).__module__.startswith("torch.nn.modules.")
        found.append(
            {
                "path": path,
                "class": _name(module),
                "config": None,
                "training": module.training,
                "layer": type(module).__name__ if known else None,
                "confidence": "certain" if known else None,
                "alternatives": [],
                "unknown": [],
            }
        )
    return found


def _name(module: object) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
