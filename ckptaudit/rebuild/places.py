"""Where the modules and tensors of a plan hang: which module has which part, and under what name.

A name may hold dots, or be empty, where no module of the plan stands in between: nn.Module cannot register
such names, and `modules.Skeleton` can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptaudit.rebuild.plan import Part, Plan

# Modules that lie deeper are names of the module above them: torch recurses to load a state dict.
DEEPEST: Final = 100


@dataclass(frozen=True, slots=True)
class Places:
    """The modules to be made, each after the one around it; by path, the names of what each one has.

    `same` are the paths at which a module hangs that is made at another one, with that other path.
    """

    parts: Mapping[str, Part]
    same: Mapping[str, str]
    children: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tensors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unsaved: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def places(plan: Plan, *, aliases: bool = True) -> Places:
    """Where everything in `plan` hangs; without `aliases`, every module is one of its own."""
    parts = {"": plan.parts.get("", Part(""))}
    parts |= {path: part for path, part in plan.parts.items() if path.count(".") < DEEPEST}
    same = _aliases(parts) if aliases else {}
    children: dict[str, dict[str, str]] = {}
    for path in parts:
        if path:
            above, name = split(path, parts)
            if above not in same:
                children.setdefault(above, {})[name] = path
    return Places(
        parts,
        same,
        children,
        _named(plan.tensors, parts, same),
        _named(plan.unsaved, parts, same),
        _named(plan.extra, parts, same),
    )


def split(key: str, paths: Mapping[str, object]) -> tuple[str, str]:
    """The longest path of `paths` that `key` lies below, and the rest of the key."""
    end = key.rfind(".")
    while end > 0:
        if key[:end] in paths:
            return key[:end], key[end + 1 :]
        end = key.rfind(".", 0, end)
    return "", key


def _aliases(parts: Mapping[str, Part]) -> dict[str, str]:
    """Where a module hangs a second time, and where it hangs first: never one around it."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for path, part in parts.items():
        first = part.alias
        if first and first in seen and first not in found and not path.startswith(f"{first}."):
            found[path] = first
        seen.add(path)
    return found


def _named(
    keys: Iterable[str], parts: Mapping[str, Part], same: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        owner, name = split(key, parts)
        if owner not in same:
            found.setdefault(owner, {})[name] = key
    return found
