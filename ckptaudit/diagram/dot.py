"""A picture as DOT text (https://graphviz.org/doc/info/lang.html): the same bytes for the same picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ckptaudit.diagram.colours import fills
from ckptaudit.diagram.flow import WIDEST, Placed, arranged, chains, framed
from ckptaudit.diagram.labels import FAINT, INK, LINE, Label, box, frame
from ckptaudit.diagram.parts import Box, Cluster, Edge, End, Head, Part, Picture
from ckptaudit.diagram.quote import attribute, shown
from ckptaudit.diagram.title import legend, title
from ckptaudit.text import plural

_TIE, _RENAME, _ORDER = "#7b2cbf", "#0a7d55", "#8c959f"
_FRAMES = ("#f6f8fa", "#eef1f4")  # fills of frames in frames
_NEST = 40.0  # points that a frame takes from the width of what is in it
_SPACES = "    "


def dot(picture: Picture) -> str:
    """The whole text. Ids are those of `diagram.ids`; nothing out of the file is markup in it."""
    return "".join(f"{line}\n" for line in _Writer(picture).lines())


class _Writer:
    """Writes one picture."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._fills: Mapping[str, str] = fills(picture.legend)
        self._link = picture.options.link
        self._labels: dict[str, Label] = {}
        self._first: dict[str, str] = {}  # a box in each frame: edges of Graphviz end at nodes only
        self._last: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """Every line, without its end."""
        rows = arranged([self._place(part, WIDEST) for part in self._picture.children], WIDEST)
        text, count = legend(self._picture)
        yield "digraph checkpoint {"
        yield from self._settings()
        for row in rows:
            for placed in row:
                yield from self._part(placed.part, 1)
        yield f'  "legend" [id="legend", tooltip="legend", label={text}]'
        below = Placed(Box(Head("legend", ""), ""), 0.0, 16.0 * count, ("legend",), "legend")
        yield from self._chains((*rows, (below,)))
        for edge in self._picture.edges:
            yield f"  {self._edge(edge)}"
        yield "}"

    def _settings(self) -> Iterator[str]:
        rankdir = self._picture.options.rankdir
        facts = f'rankdir={rankdir}, newrank=true, compound=true, nodesep=0.25, ranksep=0.28, pad=0.2'
        yield f'  graph [charset="UTF-8", {facts}, fontname="Helvetica", fontsize=12, fontcolor="{INK}",'
        yield f'    labelloc=t, labeljust=l, bgcolor="#ffffff", label={title(self._picture)}]'
        yield f'  node [shape=plain, fontname="Helvetica", fontsize=12, fontcolor="{INK}"]'
        yield f'  edge [fontname="Helvetica", fontsize=10, fontcolor="{FAINT}", color="{LINE}"]'

    def _place(self, part: Part, widest: float) -> Placed:
        """A part with its size, and the parts in it arranged."""
        name = part.head.anchor
        if isinstance(part, Box):
            label = self._labels[name] = box(part, self._fills, self._link)
            return Placed(part, label.width, label.height, (name,), name)
        label = self._labels[name] = frame(part.head)
        inner = widest - _NEST
        placed = framed(
            part,
            label.width,
            label.height,
            arranged([self._place(child, inner) for child in part.children], inner),
        )
        self._first[name], self._last[name] = placed.tops[0], placed.bottom
        return placed

    def _part(self, part: Part, depth: int) -> Iterator[str]:
        indent = _SPACES * depth
        head = part.head
        facts = ", ".join([f'id="{head.anchor}"', *self._pointers(head)])
        label = self._labels[head.anchor].text
        if isinstance(part, Box):
            yield f'{indent}"{head.anchor}" [{facts}, label={label}]'
            return
        style = "rounded,filled" + (",dashed" if head.standing == "missing" else "")
        width = f", penwidth={2 if head.times > 1 else 1}"
        yield f'{indent}subgraph "cluster_{head.anchor}" {{'
        yield f'{indent}  graph [{facts}, style="{style}", fillcolor="{_FRAMES[depth % 2]}", color="{LINE}"{width}, margin=10,'
        yield f"{indent}    label={label}]"
        for child in part.children:
            yield from self._part(child, depth + 1)
        yield f"{indent}}}"

    def _pointers(self, head: Head) -> list[str]:
        """What a pointer over a part shows, and where a click leads."""
        lines = [shown(head.path or head.name, 300), *(shown(line, 600) for line in head.told)]
        found = [f"tooltip={attribute(chr(10).join(filter(None, lines)))}"] if any(lines) else ['tooltip=" "']
        if self._link and not head.anchor.endswith(("-own", "-more", "-in")):
            found.append(f"URL={attribute(self._link + head.anchor)}")
        return found

    def _chains(self, rows: Iterable[Iterable[Placed]]) -> Iterator[str]:
        pairs = chains([tuple(row) for row in rows])
        yield "  // where things stand, and nothing else"
        for above, below, weight in pairs:
            yield f'  "{above}" -> "{below}" [style=invis, weight={weight}]'

    def _edge(self, edge: Edge) -> str:
        tail, head = self._end(edge.tail, is_tail=True), self._end(edge.head, is_tail=False)
        return f"{tail} -> {head} [{_drawn(edge)}{self._clipped(edge)}]"

    def _end(self, end: End, *, is_tail: bool) -> str:
        boxes = self._last if is_tail else self._first
        if end.part in boxes:
            return f'"{boxes[end.part]}"'
        return f'"{end.part}":"{end.row}"' if end.row else f'"{end.part}"'

    def _clipped(self, edge: Edge) -> str:
        """Edges of frames end at their border."""
        tail = f', ltail="cluster_{edge.tail.part}"' if edge.tail.part in self._last else ""
        head = f', lhead="cluster_{edge.head.part}"' if edge.head.part in self._first else ""
        return tail + head


def _drawn(edge: Edge) -> str:
    if edge.kind == "tie":
        label = f"tied: {plural(edge.storages, 'storage')}, {plural(edge.keys, 'key')}"
        return (
            f'dir=both, constraint=false, penwidth=2.5, arrowsize=0.7, color="{_TIE}", fontcolor="{_TIE}", '
            f'label="{label}", tooltip="{label}"'
        )
    if edge.kind == "rename":
        many = f", {plural(edge.keys, 'key')}" if edge.keys > 1 else ""
        label = f"renamed? {edge.sure}{many}"
        return (
            f'constraint=false, style=dashed, penwidth=1.5, color="{_RENAME}", fontcolor="{_RENAME}", '
            f'label="{label}", tooltip="{label}"'
        )
    return f'constraint=false, color="{_ORDER}", arrowsize=0.7, tooltip="runs before"'
