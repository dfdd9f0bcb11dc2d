"""Where parts go: on shelves, in their order, like words in a text.

Graphviz places nodes by their edges, and a checkpoint has hardly any: left alone, it puts a hundred boxes
side by side. Here every part gets its place from its estimated size, and between shelves and columns stay
gaps that edges run through (see `route`). Points, as Graphviz counts them, but y going down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

from ckptaudit.diagram.parts import Part, Rankdir

WIDEST = 1080.0  # of a whole picture: 1,440 CSS pixels
GAP = 24.0  # between columns and shelves
_ASPECT = 1.6  # width to height of what looks right on a screen
_PAD = 12.0  # inside of a frame


@dataclass(slots=True, eq=False)
class Shelf:
    """Columns side by side, each of parts one below the other; `y` is its upper edge.

    `attic` is how much is kept free above it for edges, beside the gap that is always there.
    """

    columns: list[list[Place]]
    y: float = 0.0
    attic: float = 0.0

    @property
    def height(self) -> float:
        """That of its tallest column."""
        return max(_tall(column) for column in self.columns)

    @property
    def width(self) -> float:
        """That of all columns and the gaps between them."""
        return sum(_wide(column) + GAP for column in self.columns) - GAP


@dataclass(slots=True, eq=False)
class Place:
    """A part on the page: `x` and `y` are of its upper left corner, `head` is the height of its label.

    `lane` is how much is kept free for edges at the left of what is in it.
    """

    part: Part | None
    width: float
    height: float
    head: float = 0.0
    shelves: list[Shelf] = field(default_factory=list)
    lane: float = 0.0
    above: Place | None = None
    shelf: int = 0
    column: int = 0
    x: float = 0.0
    y: float = 0.0

    def inside(self) -> Iterator[Place]:
        """The parts right in this one."""
        for shelf in self.shelves:
            for column in shelf.columns:
                yield from column


def _tall(column: Sequence[Place]) -> float:
    return sum(place.height + GAP / 2 for place in column) - GAP / 2


def _wide(column: Sequence[Place]) -> float:
    return max(place.width for place in column)


def framed(place: Place, inside: Sequence[Place], widest: float, rankdir: Rankdir) -> Place:
    """Arrange parts in a frame, and give it their size; widened later where edges need a lane."""
    place.shelves = _columns(inside, widest) if rankdir == "LR" else _shelves(inside, widest)
    for number, shelf in enumerate(place.shelves):
        for at, column in enumerate(shelf.columns):
            for each in column:
                each.above, each.shelf, each.column = place, number, at
    return place


def fit(place: Place) -> None:
    """Give a frame the size of what is in it."""
    if place.shelves:
        inner = max(shelf.width for shelf in place.shelves) + place.lane
        place.width = max(place.width, inner + 2 * _PAD)
        place.height = place.head + _PAD + _high(place.shelves)


def _high(shelves: Sequence[Shelf]) -> float:
    return sum(shelf.attic + shelf.height + GAP for shelf in shelves) - GAP / 2


def _shelves(parts: Sequence[Place], widest: float) -> list[Shelf]:
    """As wide as a screen is, from the top to the bottom."""
    area = sum((part.width + GAP) * (part.height + GAP) for part in parts)
    wanted = min(widest, max(sqrt(area * _ASPECT), max(part.width for part in parts)))
    shelves: list[Shelf] = []
    for part in parts:
        shelf = shelves[-1] if shelves else None
        if shelf is not None and _stacks(shelf, part):
            shelf.columns[-1].append(part)
        elif shelf is not None and shelf.width + GAP + part.width <= wanted:
            shelf.columns.append([part])
        else:
            shelves.append(Shelf([[part]]))
    return shelves


def _stacks(shelf: Shelf, part: Place) -> bool:
    """Whether a part fits below the last one, beside something tall."""
    column = shelf.columns[-1]
    if len(shelf.columns) == 1 or part.width > _wide(column) * 1.3:
        return False
    return _tall(column) + GAP / 2 + part.height <= shelf.height


def _columns(parts: Sequence[Place], widest: float) -> list[Shelf]:
    """One shelf whose columns are filled from the top to the bottom."""
    area = sum((part.width + GAP) * (part.height + GAP) for part in parts)
    wanted = max(sqrt(area / _ASPECT), area / widest, max(part.height for part in parts))
    shelf = Shelf([[parts[0]]])
    for part in parts[1:]:
        if _tall([*shelf.columns[-1], part]) <= wanted:
            shelf.columns[-1].append(part)
        else:
            shelf.columns.append([part])
    return [shelf]


def settle(place: Place, x: float, y: float) -> None:
    """Give a frame and all that is in it their places on the page."""
    stack = [(place, x, y)]
    while stack:
        here, at, down = stack.pop()
        here.x, here.y = at, down
        top = here.y + here.head + GAP / 2
        for shelf in here.shelves:
            top += shelf.attic
            shelf.y = top
            left = here.x + _PAD + here.lane
            for column in shelf.columns:
                under = top
                for each in column:
                    stack.append((each, left, under))
                    under += each.height + GAP / 2
                left += _wide(column) + GAP
            top += shelf.height + GAP


def walk(place: Place) -> Iterable[Place]:
    """A place and all below it."""
    stack = [place]
    while stack:
        here = stack.pop()
        yield here
        stack += here.inside()
