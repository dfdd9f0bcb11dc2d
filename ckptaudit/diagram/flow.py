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
_IN_LINE = 20  # against 1: weights of edges
_GAP, _MARGIN = 22.0, 16.0  # between parts, and on either side of a frame


Tied = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Placed:
    """A part with its estimated size in points. `tops` are the boxes in its first rank, `bottom` one in its last.

    `left` is the box at the left of its last row. `ranks` is how many ranks it takes, and `rows` are the parts
    in it as they are arranged.
    """

    part: Part | None
    width: float
    height: float
    tops: tuple[str, ...]
    bottom: str
    left: str
    ranks: int = 1
    rows: tuple[tuple[Placed, ...], ...] = ()

    @classmethod
    def single(cls, name: str, part: Part | None = None, width: float = 0.0, height: float = 0.0) -> Placed:
        """One box."""
        return cls(part, width, height, (name,), name, name)


def arranged(parts: Sequence[Placed], widest: float, tied: Tied = frozenset()) -> Rows:
    """`parts` in rows, in their order, none much wider than `widest` and the whole about as wide as a screen.

    What is `tied` does not stand side by side: edges from row to row have room, with their labels, at the left.
    """
    area = sum((part.width + _GAP) * (part.height + _GAP) for part in parts)
    wanted = min(widest, max(sqrt(area * _ASPECT), max((part.width for part in parts), default=0.0)))
    rows: list[list[Placed]] = []
    used = 0.0
    for part in parts:
        if not rows or used + _GAP + part.width > wanted or _joins(rows[-1], part, tied):
            rows.append([])
            used = -_GAP
        rows[-1].append(part)
        used += _GAP + part.width
    return tuple(map(tuple, rows))


def _joins(row: list[Placed], part: Placed, tied: Tied) -> bool:
    if not tied:
        return False
    here = set(_boxes(part))
    return any((one in here) != (other in here) and (one in row_boxes or other in row_boxes)
               for row_boxes in [{box for each in row for box in _boxes(each)}] for one, other in tied
               if one in here or other in here)


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
        rows[-1][0].left,
        sum(each.ranks for each in deepest),
        rows,
    )


Rows = tuple[tuple[Placed, ...], ...]


def ranked(rows: Sequence[Sequence[Placed]], start: int = 0) -> list[list[str]]:
    """The boxes of each rank from the left to the right: each row below the last, whatever is in that."""
    found: list[list[str]] = []
    for row in rows:
        deepest = max(each.ranks for each in row)
        ranks: list[list[str]] = [[] for _ in range(deepest)]
        for each in row:
            inner = ranked(each.rows) if each.rows else [[each.bottom]]
            for rank, boxes in zip(ranks, inner, strict=False):
                rank += boxes
        found += ranks
    return found


def lined(rows: Rows) -> list[tuple[str, str]]:
    """Pairs of boxes that are near each other: side by side, or in one column of rows that follow each other."""
    found = [
        (over.left, under.tops[0])
        for above, below in zip(rows, rows[1:], strict=False)
        for over, under in zip(above, below, strict=False)
    ]
    for row in rows:
        found += [(one.tops[-1], other.tops[0]) for one, other in zip(row, row[1:], strict=False)]
        for each in row:
            found += lined(each.rows)
    return found


def beside(rows: Rows, tail: str, head: str) -> tuple[int, int]:
    """How two boxes stand to each other where their ways part: rows down, and columns to the right."""
    place = {
        box: (number, column, each)
        for number, row in enumerate(rows)
        for column, each in enumerate(row)
        for box in _boxes(each)
        if box in (tail, head)
    }
    (row, column, part), (other_row, other_column, other) = place[tail], place[head]
    if part is other and part.rows:
        return beside(part.rows, tail, head)
    return other_row - row, other_column - column


def _boxes(placed: Placed) -> list[str]:
    found, stack = [], [placed]
    while stack:
        each = stack.pop()
        stack += [inner for row in each.rows for inner in row]
        if not each.rows:
            found.append(each.bottom)
    return found
