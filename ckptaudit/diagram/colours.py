"""What parts are filled with, and the legend that says why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Final

from ckptaudit.audit import Severity
from ckptaudit.diagram.parts import Color, Swatch
from ckptaudit.text import natural

MIXED: Final = "mixed"
NONE: Final = ""  # a module without tensors

# Light enough for black text: a contrast of at least 10 to 1 against #1f2328.
_FIXED = MappingProxyType({"cpu": "#dbe7f5", "meta": "#eceff2", "float32": "#dbe7f5"})
_PALETTE = ("#d5efd6", "#fde5c4", "#eadcf6", "#cdeff0", "#fbdbe4", "#eef0bd", "#e6dccf", "#d3dcfb")
_MIXED_FILL, _NO_FILL = "#f3f0e8", "#ffffff"
_SHARES = (
    (0.25, "25 % of all bytes or more", "#b6cdf0"),
    (0.05, "5 to 25 %", "#d3e1f7"),
    (0.01, "1 to 5 %", "#e8f0fb"),
)
SEVERE: Final = MappingProxyType(
    {Severity.ERROR: "#f8c5c0", Severity.WARNING: "#fbe2a6", Severity.NOTE: "#dcebfa"}
)
_SMALL = ("less than 1 %", "#f7f9fc")


def share(nbytes: int, whole: int) -> str:
    """The category of a part by its size."""
    part = nbytes / whole if whole else 0.0
    return next((label for least, label, _ in _SHARES if part >= least), _SMALL[0])


def worst(severity: Severity | None) -> str:
    """The category of a part by what was found in it."""
    return "no finding" if severity is None else str(severity)


def legend(color: Color, used: Iterable[str]) -> tuple[Swatch, ...]:
    """A swatch for each category that is drawn, in an order that does not depend on the picture."""
    found = set(used) - {NONE}
    if color == "size":
        scale = [(label, fill) for _, label, fill in _SHARES] + [_SMALL]
        return tuple(Swatch(label, label, fill) for label, fill in scale if label in found)
    if color == "finding":
        scale = [(str(severity), fill) for severity, fill in SEVERE.items()] + [("no finding", "#eef3ee")]
        return tuple(Swatch(label, label, fill) for label, fill in scale if label in found)
    names = sorted(found - {MIXED}, key=natural)
    swatches = [Swatch(name, name, fill) for name, fill in zip(names, _fills(names), strict=True)]
    if MIXED in found:
        swatches.append(Swatch(MIXED, f"several {color}s", _MIXED_FILL))
    return tuple(swatches)


def _fills(names: Sequence[str]) -> list[str]:
    others = iter(range(len(names)))
    return [_FIXED.get(name) or _PALETTE[next(others) % len(_PALETTE)] for name in names]


def fills(swatches: Iterable[Swatch]) -> dict[str, str]:
    """What each category is filled with; what has no tensors, with white."""
    return {NONE: _NO_FILL, **{swatch.key: swatch.fill for swatch in swatches}}
