"""Where parts go: in rows, like words in a text.

Graphviz ranks nodes by their edges, and a checkpoint has hardly any: left alone, it puts a hundred boxes
side by side. Rows are chosen here from estimated sizes, and kept by invisible edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from ckptaudit.diagram.parts import Part

WIDEST = 1080.0  # points, of a whole picture: 1,440 CSS pixels
_ASPECT = 1.7  # width to height of what looks right on a screen
_GAP, _MARGIN = 22.0, 16.0  # between parts, and on either side of a frame


@dataclass(frozen=True, slots=True)
class Placed:
    """A part with its estimated size in points. `tops` are the boxes in its first rank, `bottom` one in its last.

    `ranks` is how many ranks it takes, and `rows` are the parts in it as they are arranged.
    """

    part: Part
    width: float
    height: float
    tops: tuple[str, ...]
    bottom: str
    ranks: int = 1
    rows: tuple[tuple[Placed, ...], ...] = ()


def arranged(parts: Sequence[Placed], widest: float) -> tuple[tuple[Placed, ...], ...]:
    """`parts` in rows, in their order, none much wider than `widest` and the whole about as wide as a screen."""
    area = sum((part.width + _GAP) * (part.height + _GAP) for part in parts)
    wanted = min(widest, max(sqrt(area * _ASPECT), max((part.width for part in parts), default=0.0)))
    rows: list[list[Placed]] = []
    used = 0.0
    for part in parts:
        if not rows or used + _GAP + part.width > wanted:
            rows.append([])
            used = -_GAP
        rows[-1].append(part)
        used += _GAP + part.width
    return tuple(map(tuple, rows))


def framed(part: Part, label_width: float, label_height: float, rows: tuple[tuple[Placed, ...], ...]) -> Placed:
    """A frame around rows of parts."""
    inner = max(sum(each.width + _GAP for each in row) - _GAP for row in rows)
    height = sum(max(each.height for each in row) + _GAP for row in rows) + label_height
    deepest = [max(row, key=lambda each: each.ranks) for row in rows]
    return Placed(
        part,
        max(inner, label_width) + 2 * _MARGIN,
        height + _MARGIN,
        tuple(top for each in rows[0] for top in each.tops),
        deepest[-1].bottom,
        sum(each.ranks for each in deepest),
        rows,
    )


def chains(rows: Sequence[Sequence[Placed]]) -> list[tuple[str, str, int]]:
    """Pairs of boxes of which the second stands below the first, and how much they are to be in line.

    So each row stands below the last, and begins where that begins.
    """
    found: list[tuple[str, str, int]] = []
    for above, below in zip(rows, rows[1:], strict=False):
        deepest = max(above, key=lambda each: each.ranks)
        found.append((above[0].bottom, below[0].tops[0], 20))
        tops = [top for each in below for top in each.tops]
        found += [(deepest.bottom, top, 0) for top in tops if (above[0].bottom, tops[0]) != (deepest.bottom, top)]
    for row in rows:
        for each in row:
            found += chains(each.rows)
    return found
