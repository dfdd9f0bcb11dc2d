"""What is said below the name of a module, in short lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ckptaudit.diagram.parts import Box, Head
from ckptaudit.diagram.quote import shown
from ckptaudit.diagram.standing import MISSING, unmarked
from ckptaudit.fold import Difference
from ckptaudit.text import grouped, listing, plural, shape, short, size

_WIDE = 64  # characters of one line
_FEW = 3

_STANDINGS = {
    "missing": "missing: the reference expects it",
    "unexpected": "unexpected: the reference has no such names",
    "mismatched": "of another shape than expected",
}


def layer_words(head: Head) -> str:
    """`Linear 20→256, likely`; without the last word where the file itself names the class."""
    words = shown(head.layer, _WIDE)
    return f"{words}, {head.confidence}" if head.confidence else words


def below(head: Head, part: Box | None) -> list[str]:
    """How large a module is, what is odd about it, and what of it is not drawn; `part` where it is a box."""
    told = [_amount(head, part)] if head.name or (part is not None and part.closed) else []
    told.append(_STANDINGS.get(head.standing, ""))
    told += [f"differs: {line}" for line in _changes(head.difference)]
    told.append(head.note)
    return [shown(line, _WIDE) for line in told if line]


def _amount(head: Head, part: Box | None) -> str:
    """`5,376 params · 21.0 KiB`, and for folded blocks that this is all of them."""
    facts = []
    if head.parameters:
        facts.append(f"{brief(head.parameters)} params")
    if head.nbytes:
        facts.append(size(head.nbytes))
    if part is not None and part.closed and head.tensors:
        facts.append(plural(head.tensors, "tensor"))
    if not facts:
        return "no tensors" if not head.tensors and part is not None and not part.rows else ""
    return " · ".join(facts) + (" in all" if head.times > 1 else "")


def brief(number: int) -> str:
    """7,946 in full; from a million on in short, 124.4 M."""
    return short(number) if number >= 1_000_000 else grouped(number)


def _changes(found: Iterable[Difference]) -> list[str]:
    """In what a sibling differs, the same change of many tensors told once; at most three lines."""
    changes: dict[str, list[str]] = defaultdict(list)
    for difference in found:
        changes[_change(difference)].append(difference.name)
    lines = [
        f"{listing(names, _FEW) if len(names) <= _FEW else plural(len(names), 'tensor')} {change}"
        for change, names in changes.items()
    ]
    return lines if len(lines) <= _FEW else [*lines[: _FEW - 1], f"and {len(lines) - _FEW + 1} more"]


def _change(difference: Difference) -> str:
    here, there = difference.here, difference.there
    if here is None or unmarked(here[2]) == MISSING:
        return "absent" if here is None else MISSING
    if there is None:
        return f"{shape(here[1])} {here[0]} only here"
    pairs = zip(
        (shape(here[1]), here[0], unmarked(here[2])),
        (shape(there[1]), there[0], unmarked(there[2])),
        strict=True,
    )
    return ", ".join(f"{own} not {other}" for own, other in pairs if own != other) or "stands otherwise"
