"""The ways of edges: through the gaps between columns and shelves, and the lanes at the left of frames.

Nothing is crossed but frames: an edge leaves its box to the left, and every shelf has a free gap above it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ckptaudit.diagram.flow import GAP, Place

Point = tuple[float, float]
_MOST = 24  # edges that run beside each other; more run over one another
LABEL = 120.0  # kept free for words beside a lane
_STEP, _LINE = 6.0, 14.0  # between edges that run beside each other, and where there are words on each
_ROUND = 6.0  # radius of a corner


@dataclass(frozen=True, slots=True)
class Way:
    """The corners of an edge from tip to tip, and where the middle of its label is."""

    points: tuple[Point, ...]
    label: Point


def parting(tail: Place, head: Place) -> tuple[Place, Place, Place]:
    """The innermost frame that holds both, and what of it holds each: one of these is the frame itself where
    that is an end."""
    ways = [_up(tail), _up(head)]
    shared = [one for one, other in zip(*ways, strict=False) if one is other]
    depth = len(shared)
    if depth in (len(ways[0]), len(ways[1])):
        depth -= 1  # one is inside of the other
    return ways[0][depth - 1], ways[0][depth], ways[1][depth]


def _up(place: Place) -> list[Place]:
    """The frames around a place from the outside to the inside, and itself."""
    way = [place]
    while way[-1].above is not None:
        way.append(way[-1].above)
    return way[::-1]


def reserve(tail: Place, head: Place) -> None:
    """Keep free what an edge needs where its ends part: a lane at the left, or room above a shelf."""
    frame, one, other = parting(tail, head)
    if one is other:
        return
    if one.shelf == other.shelf and one.column != other.column:
        shelf = frame.shelves[one.shelf]
        shelf.attic = min(shelf.attic + _LINE, _MOST * _LINE)
        frame.lane = max(frame.lane, _STEP if min(one.column, other.column) == 0 else 0.0)
        return
    frame.lane = min(max(frame.lane, LABEL) + _STEP, LABEL + _MOST * _STEP)


class Router:
    """Finds the ways of edges; those that run beside each other are kept apart."""

    def __init__(self) -> None:
        self._used: Counter[tuple[Place, int]] = Counter()
        self._labels: list[Point] = []

    def around(self, tail: tuple[Place, float], head: tuple[Place, float]) -> Way:
        """The way from a place and a height in it to another."""
        frame, one, other = parting(tail[0], head[0])
        if one is other:  # from a frame to what is in it
            return self._into(tail, head)
        is_level = one.shelf == other.shelf and one.column != other.column
        slot = self._used[frame, one.shelf if is_level else -1] % _MOST
        self._used[frame, one.shelf if is_level else -1] += 1
        out, back = _leave(tail, one, slot), _leave(head, other, slot)
        if is_level:
            return self._over(frame, (one, out), (other, back), slot)
        lane = _lane(frame) - _STEP * slot
        down, up = (
            _to_lane(frame, each, points[-1][1], lane, slot) for each, points in ((one, out), (other, back))
        )
        left = _lane(frame) + _STEP - frame.lane + LABEL / 2  # beyond the last lane
        label = left, (down[-1][1] + up[-1][1]) / 2
        return Way(_straight([*out, *down, *reversed(up), *reversed(back)]), self._free(label))

    def _over(
        self, frame: Place, tail: tuple[Place, list[Point]], head: tuple[Place, list[Point]], slot: int
    ) -> Way:
        """Above a shelf, from the gap before one column to that before another."""
        height = _above(frame, tail[0].shelf) - _LINE * slot
        xs = [_beside(frame, place, slot) for place, _ in (tail, head)]
        turns = [(xs[0], tail[1][-1][1]), (xs[0], height), (xs[1], height), (xs[1], head[1][-1][1])]
        return Way(_straight([*tail[1], *turns, *reversed(head[1])]), (sum(xs) / 2, height - 7))

    def _into(self, tail: tuple[Place, float], head: tuple[Place, float]) -> Way:
        left = min(tail[0].x, head[0].x) - GAP / 2
        points = [(tail[0].x, tail[1]), (left, tail[1]), (left, head[1]), (head[0].x, head[1])]
        return Way(tuple(points), self._free((left, (tail[1] + head[1]) / 2)))

    def _free(self, label: Point) -> Point:
        """The nearest place below where no other label is."""
        x, y = label
        while any(abs(x - at) < LABEL and abs(y - height) < _LINE for at, height in self._labels[-_MOST:]):
            y += _LINE
        self._labels.append((x, y))
        return x, y


def _leave(start: tuple[Place, float], last: Place, slot: int) -> list[Point]:
    """From the left border of a place to that of `last`, which is around it."""
    place, y = start
    points = [(place.x, y)]
    while place is not last:
        frame = place.above
        assert frame is not None
        if place.column:
            gap = _beside(frame, place, slot)
            points.append((gap, y))
            y = _above(frame, place.shelf)
            points.append((gap, y))
        points.append((frame.x, y))
        place = frame
    return points


def _to_lane(frame: Place, place: Place, y: float, lane: float, slot: int) -> list[Point]:
    if not place.column:
        return [(lane, y)]
    gap, height = _beside(frame, place, slot), _above(frame, place.shelf)
    return [(gap, y), (gap, height), (lane, height)]


def _lane(frame: Place) -> float:
    return frame.shelves[0].columns[0][0].x - GAP / 2


def _beside(frame: Place, place: Place, slot: int) -> float:
    """In the gap at the left of a column."""
    left = frame.shelves[place.shelf].columns[place.column][0].x
    return left - GAP / 2 + 3 * (slot % 3 - 1)


def _above(frame: Place, shelf: int) -> float:
    """In the gap above a shelf."""
    return frame.shelves[shelf].y - GAP / 4


def onward(tail: Place, head: Place) -> Way:
    """A short way between neighbours, as text is read: to the right, down, or down to the next shelf."""
    if tail.shelf == head.shelf and tail.column != head.column:
        y = min(tail.y + tail.height, head.y + head.height) - min(tail.height, head.height) / 2
        points: list[Point] = [(tail.x + tail.width, y), (head.x, y)]
    else:
        out, into = tail.x + tail.width / 2, head.x + min(head.width, tail.width) / 2
        if abs(out - into) < 2 * _ROUND:
            out = into = max(tail.x, head.x) + min(tail.width, head.width) / 2
        turn = head.y - GAP * 0.45
        points = [(out, tail.y + tail.height), (out, turn), (into, turn), (into, head.y)]
    return Way(_straight(points), points[0])


def _straight(points: Sequence[Point]) -> tuple[Point, ...]:
    """Without points that are no corners."""
    kept: list[Point] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and any(kept[-2][axis] == kept[-1][axis] == point[axis] for axis in (0, 1)):
            kept[-1] = point
        else:
            kept.append(point)
    return tuple(kept)


def spline(points: Sequence[Point]) -> list[Point]:
    """Control points of a Bézier curve along `points`, its corners rounded."""
    curve = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        entry, leave = _toward(corner, before), _toward(corner, after)
        curve += [
            _part(curve[-1], entry, 1 / 3),
            _part(curve[-1], entry, 2 / 3),
            entry,
            corner,
            corner,
            leave,
        ]
    last = points[-1]
    return [*curve, _part(curve[-1], last, 1 / 3), _part(curve[-1], last, 2 / 3), last]


def _toward(corner: Point, other: Point) -> Point:
    """The point where the rounding of a corner begins on its way to another."""
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])
    return _part(corner, other, min(_ROUND, length / 2) / length if length else 0.0)


def _part(one: Point, other: Point, share: float) -> Point:
    return one[0] + (other[0] - one[0]) * share, one[1] + (other[1] - one[1]) * share
