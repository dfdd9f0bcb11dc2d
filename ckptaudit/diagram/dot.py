"""A picture as DOT text (https://graphviz.org/doc/info/lang.html): the same bytes for the same picture.

Places are ours, and Graphviz only draws (`layout=nop2`, https://graphviz.org/docs/layouts/nop2/): `dot -Tsvg`
does it like the other engines.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Severity
from ckptaudit.diagram.colours import fills
from ckptaudit.diagram.flow import Place
from ckptaudit.diagram.labels import ALARM, INK, LINE, Label
from ckptaudit.diagram.page import Page, page
from ckptaudit.diagram.parts import Box, Edge, Head, Picture
from ckptaudit.diagram.quote import attribute, shown
from ckptaudit.diagram.route import Way, spline
from ckptaudit.text import plural

_FRAMES = ("#f6f8fa", "#eef1f4")  # fills of frames in frames
_TIE, _RENAME = "#7b2cbf", "#0a7d55"
_TIP = 7.0  # points of an arrow


def dot(picture: Picture) -> str:
    """The whole text. Ids are those of `diagram.ids`; nothing out of the file is markup in it."""
    return "".join(f"{line}\n" for line in _Writer(picture).lines())


class _Writer:
    """Writes one picture."""

    def __init__(self, picture: Picture) -> None:
        self._link = picture.options.link
        self._page: Page = page(picture, fills(picture.legend))

    def lines(self) -> Iterator[str]:
        """Every line, without its end."""
        laid = self._page
        yield "digraph checkpoint {"
        corners = f"0,0,{laid.width:.0f},{laid.height:.0f}"
        yield f'  graph [charset="UTF-8", layout=nop2, pad=0.1, bb="{corners}", bgcolor="#ffffff",'
        yield f'    fontname="Helvetica", fontsize=12, fontcolor="{INK}", {self._middle(laid.title, "lp")},'
        yield f"    label={laid.title_text}]"
        yield f'  node [shape=plain, fontname="Helvetica", fontsize=12, fontcolor="{INK}"]'
        yield f'  edge [fontname="Helvetica", fontsize=10, color="{LINE}"]'
        for place in laid.top.inside():
            yield from self._part(place, 1)
        for name, (place, text) in laid.foot.items():
            yield f'  "{name}" [id="{name}", tooltip=" ", {self._middle(place, "pos")}, label={text}]'
        for edge, way in laid.ways:
            yield f"  {self._edge(edge, way)}"
        yield "}"

    def _middle(self, place: Place, name: str) -> str:
        x, y = place.x + place.width / 2, self._page.height - place.y - place.height / 2
        return f'{name}="{x:.1f},{y:.1f}"'

    def _part(self, place: Place, depth: int) -> Iterator[str]:
        indent = "  " * depth
        part = place.part
        assert part is not None
        head = part.head
        label = self._page.labels[head.anchor]
        if isinstance(part, Box):
            yield f'{indent}"{head.anchor}" [{self._facts(head)}, {self._middle(place, "pos")},'
            yield f"{indent}  label={label.text}]"
            return
        style = "rounded,filled" + (",dashed" if head.standing == "missing" else "")
        colour = ALARM if head.severity == Severity.ERROR else LINE
        yield f'{indent}subgraph "cluster_{head.anchor}" {{'
        yield f"{indent}  graph [{self._facts(head)},"
        yield f'{indent}    bb="{self._corners(place)}", {self._label_at(place, label)},'
        yield f'{indent}    style="{style}", fillcolor="{_FRAMES[depth % 2]}", color="{colour}",'
        yield f"{indent}    penwidth={2 if head.times > 1 else 1},"
        yield f"{indent}    label={label.text}]"
        for inner in place.inside():
            yield from self._part(inner, depth + 1)
        yield f"{indent}}}"

    def _corners(self, place: Place) -> str:
        low, high = place.y + place.height, place.y
        return f"{self._at((place.x, low))},{self._at((place.x + place.width, high))}"

    def _label_at(self, place: Place, label: Label) -> str:
        return self._middle(Place(None, label.width, label.height, x=place.x + 6, y=place.y + 4), "lp")

    def _facts(self, head: Head) -> str:
        """The id of a part, what a pointer over it shows, and where a click leads."""
        lines = [shown(head.path or head.name, 300), *(shown(line, 600) for line in head.told)]
        facts = f'id="{head.anchor}", tooltip={attribute(chr(10).join(filter(None, lines)) or " ")}'
        return f"{facts}, URL={attribute(self._link + head.anchor)}" if self._link else facts

    def _edge(self, edge: Edge, way: Way) -> str:
        tail, head = (
            f'"{end.part}":"{end.row}"' if end.row else f'"{self._page.boxes[end.part]}"'
            for end in (edge.tail, edge.head)
        )
        return f"{tail} -> {head} [{_looks(edge)}, {self._drawn(edge, way)}]"

    def _drawn(self, edge: Edge, way: Way) -> str:
        """The curve in Graphviz's words: arrow tips first, then control points."""
        points = list(way.points)
        tips = []
        if edge.kind == "tie":
            tips.append(("s", points[0]))
            points[0] = _short(points[0], points[1])
        tips.append(("e", points[-1]))
        points[-1] = _short(points[-1], points[-2])
        text = [f"{name},{self._at(point)}" for name, point in tips]
        curve = " ".join([*text, *map(self._at, spline(points))])
        label = "" if edge.kind == "order" else f', lp="{self._at(way.label)}"'
        return f'pos="{curve}"{label}'

    def _at(self, point: tuple[float, float]) -> str:
        return f"{point[0]:.1f},{self._page.height - point[1]:.1f}"


def _short(tip: tuple[float, float], following: tuple[float, float]) -> tuple[float, float]:
    """Where the line ends behind an arrow."""
    across, down = following[0] - tip[0], following[1] - tip[1]
    length = max(abs(across), abs(down)) or 1.0
    return tip[0] + across / length * _TIP, tip[1] + down / length * _TIP


def _looks(edge: Edge) -> str:
    if edge.kind == "order":
        return 'constraint=false, arrowsize=0.7, tooltip="runs before"'
    if edge.kind == "tie":
        label = f"tied: {plural(edge.storages, 'storage')}, {plural(edge.keys, 'key')}"
        line = f'dir=both, penwidth=2.5, arrowsize=0.7, color="{_TIE}", fontcolor="{_TIE}"'
    else:
        many = f", {plural(edge.keys, 'key')}" if edge.keys > 1 else ""
        label = f"renamed? ({edge.sure}{many})"
        line = f'style=dashed, penwidth=1.5, arrowsize=0.7, color="{_RENAME}", fontcolor="{_RENAME}"'
    return f'constraint=false, {line}, label="{label}", tooltip="{label}"'
