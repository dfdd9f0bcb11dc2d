"""A picture laid out: every part, edge and line of words with its place on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptaudit.diagram.flow import GAP, WIDEST, Place, fit, framed, settle, walk
from ckptaudit.diagram.labels import Label, box, frame
from ckptaudit.diagram.parts import Box, Edge, End, Part, Picture
from ckptaudit.diagram.route import Router, Way, onward, reserve
from ckptaudit.diagram.title import legend, notes, title

_NEST = 24.0  # points that a frame takes from the width of what is in it
_EDGE, _MARGIN = 6.0, 12.0


@dataclass(frozen=True, slots=True)
class Page:
    """Where everything is. `top` holds all parts, `boxes` a box in each: edges of Graphviz end at nodes.

    `foot` are the tables below the picture by name, with their text.
    """

    width: float
    height: float
    title: Place
    title_text: str
    top: Place
    labels: Mapping[str, Label]
    boxes: Mapping[str, str]
    foot: Mapping[str, tuple[Place, str]]
    ways: tuple[tuple[Edge, Way], ...]


class _Layout:
    """Sizes first, then lanes for edges, then places."""

    def __init__(self, picture: Picture, fills: Mapping[str, str]) -> None:
        self._picture = picture
        self._fills = fills
        self.labels: dict[str, Label] = {}
        self.places: dict[str, Place] = {}
        self.boxes: dict[str, str] = {}

    def top(self) -> Place:
        """All parts, arranged."""
        place = Place(None, 0.0, 0.0)
        inside = [self._place(part, WIDEST) for part in self._picture.children]
        if inside:
            framed(place, inside, WIDEST, self._picture.options.rankdir)
        for edge in self._picture.edges:
            if edge.kind != "order":
                reserve(self.places[edge.tail.part], self.places[edge.head.part])
        for each in reversed(list(walk(place))):
            fit(each)
        return place

    def _place(self, part: Part, widest: float) -> Place:
        name = part.head.anchor
        if isinstance(part, Box):
            label = self.labels[name] = box(part, self._fills, self._picture.options.link)
            place = Place(part, label.width, label.height)
            self.boxes[name] = name
        else:
            label = self.labels[name] = frame(part.head)
            place = Place(part, label.width + 2 * _EDGE, 0.0, label.height + 2)
            inside = [self._place(child, widest - _NEST) for child in part.children]
            framed(place, inside, widest - _NEST, self._picture.options.rankdir)
            self.boxes[name] = self.boxes[part.children[0].head.anchor]
        # A frame is arranged before its lanes are known: sizes as they are so far.
        fit(place)
        self.places[name] = place
        return place

    def ways(self) -> tuple[tuple[Edge, Way], ...]:
        """The way of every edge."""
        found = []
        router = Router()
        for edge in self._picture.edges:
            tail, head = (self.places[end.part] for end in (edge.tail, edge.head))
            if edge.kind == "order":
                found.append((edge, onward(tail, head)))
            else:
                ends = (tail, self._height(edge.tail)), (head, self._height(edge.head))
                found.append((edge, router.around(*ends)))
        return tuple(found)

    def _height(self, end: End) -> float:
        """Where an edge meets a part: at its row, or at its name."""
        place = self.places[end.part]
        return place.y + (self.labels[end.part].rows.get(end.row, 12.0))


def page(picture: Picture, fills: Mapping[str, str]) -> Page:
    """Lay out a picture."""
    layout = _Layout(picture, fills)
    top = layout.top()
    text, wide, tall = title(picture)
    settle(top, 0.0, tall + _MARGIN)
    bottom = top.y + top.height + GAP / 2
    foot: dict[str, tuple[Place, str]] = {}
    left = _MARGIN
    for name, (table, across, down) in (("legend", legend(picture)), ("notes", notes(picture))):
        if table:
            foot[name] = Place(None, across, down, x=left, y=bottom), table
            left += across + GAP
    width = max(top.width, wide, left) + _MARGIN
    height = max([bottom, *(place.y + place.height for place, _ in foot.values())]) + _MARGIN
    header = Place(None, wide, tall, x=_MARGIN, y=_EDGE)
    return Page(width, height, header, text, top, layout.labels, layout.boxes, foot, layout.ways())
