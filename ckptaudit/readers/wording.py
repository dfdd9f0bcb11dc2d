"""How readers put names and counts into the sentences of their problems."""

from __future__ import annotations

from collections.abc import Iterable, Sized

from ckptaudit.errors import LimitError
from ckptaudit.limits import Limits


def limit_error(path: str, name: str, limits: Limits, reason: str, where: str) -> LimitError:
    """The error for a file of which nothing is read because the cap `name` of Limits was reached."""
    cap = getattr(limits, name)
    return LimitError(
        path,
        f"{reason}: the limit {name}={cap} was reached",
        where=where,
        remedy=f"raise it with --limit {name}=N",
    )


def few(names: Iterable[object], most: int = 3) -> str:
    """Up to `most` names, quoted and shortened, and how many more there are."""
    found = list(names)
    shown = [name if isinstance(name, int) else repr(_shortened(str(name))) for name in found[:most]]
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(map(str, shown)) + more


def counted(names: Sized, noun: str) -> str:
    """How many there are: "1 tensor", "2 tensors"."""
    return f"{len(names):,} {noun}" + ("" if len(names) == 1 else "s")


def _shortened(name: str) -> str:
    return name if len(name) <= 120 else f"{name[:80]}…{name[-30:]}"
