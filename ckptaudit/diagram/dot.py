"""A picture as DOT text (https://graphviz.org/doc/info/lang.html): the same bytes for the same picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ckptaudit.diagram.colours import fills
from ckptaudit.diagram.flow import WIDEST, Placed, Rows, arranged, framed, lined, ranked
from ckptaudit.diagram.joins import joined
from ckptaudit.diagram.labels import FAINT, INK, LINE, Label, box, frame
from ckptaudit.diagram.parts import Box, Cluster, Head, Part, Picture
from ckptaudit.diagram.quote import attribute, shown
from ckptaudit.diagram.title import legend, notes, title

_FRAMES = ("#f6f8fa", "#eef1f4")  # fills of frames in frames
_NEST = 40.0  # points that a frame takes from the width of what is in it


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
        self._frames: dict[str, Placed] = {}
        self._tied = frozenset(
            (edge.tail.part, edge.head.part) for edge in picture.edges if edge.kind == "tie"
        )

    def lines(self) -> Iterator[str]:
        """Every line, without its end."""
        rows = self._arranged(self._picture.children, WIDEST)
        foot = self._foot()
        yield "digraph checkpoint {"
        yield from self._settings()
        yield from self._rows(rows, 1)
        for edge in self._picture.edges:
            yield f"  {joined(edge, rows, self._frames, self._picture.options.rankdir)}"
        for name, text in foot.items():
            yield f'  "{name}" [id="{name}", tooltip=" ", label={text}]'
        yield from _arrangement((*rows, tuple(Placed.single(name) for name in foot)))
        yield "}"

    def _settings(self) -> Iterator[str]:
        facts = f"rankdir={self._picture.options.rankdir}, newrank=true, compound=true, forcelabels=true"
        yield f'  graph [charset="UTF-8", {facts}, nodesep=0.25, ranksep=0.28, pad=0.2, labelloc=t, labeljust=l,'
        yield f'    fontname="Helvetica", fontsize=12, fontcolor="{INK}", bgcolor="#ffffff",'
        yield f"    label={title(self._picture)}]"
        yield f'  node [shape=plain, fontname="Helvetica", fontsize=12, fontcolor="{INK}"]'
        yield f'  edge [fontname="Helvetica", fontsize=10, color="{LINE}"]'

    def _foot(self) -> dict[str, str]:
        """What stands below the picture."""
        tables = {"legend": legend(self._picture), "notes": notes(self._picture)}
        return {name: table for name, table in tables.items() if table}

    def _arranged(self, parts: Iterable[Part], widest: float) -> Rows:
        return arranged([self._place(part, widest) for part in parts], widest, self._tied)

    def _place(self, part: Part, widest: float) -> Placed:
        """A part with its size, and the parts in it arranged."""
        name = part.head.anchor
        if isinstance(part, Box):
            label = self._labels[name] = box(part, self._fills, self._link)
            return Placed.single(name, part, label.width, label.height)
        label = self._labels[name] = frame(part.head)
        rows = self._arranged(part.children, widest - _NEST)
        placed = self._frames[name] = framed(part, label.width, label.height, rows)
        return placed

    def _rows(self, rows: Rows, depth: int) -> Iterator[str]:
        for row in rows:
            is_mixed = len({bool(placed.rows) for placed in row}) > 1
            for placed in row:
                if isinstance(placed.part, Cluster):
                    yield from self._cluster(placed.part, placed.rows, depth)
                elif placed.part is not None:
                    yield from self._box(placed.part, depth, is_mixed=is_mixed)

    def _box(self, part: Box, depth: int, *, is_mixed: bool) -> Iterator[str]:
        head = part.head
        line = f'"{head.anchor}" [{self._facts(head)}, label={self._labels[head.anchor].text}]'
        if is_mixed:
            # In a row, Graphviz puts clusters before nodes; among clusters it keeps their order.
            line = f'subgraph "cluster_{head.anchor}-" {{ graph [id="{head.anchor}-", label="", style=invis, margin=0, tooltip=" "] {line} }}'
        yield f"{'  ' * depth}{line}"

    def _cluster(self, part: Cluster, rows: Rows, depth: int) -> Iterator[str]:
        indent = "  " * depth
        head = part.head
        style = "rounded,filled" + (",dashed" if head.standing == "missing" else "")
        looks = f'style="{style}", fillcolor="{_FRAMES[depth % 2]}", color="{LINE}", margin=10'
        yield f'{indent}subgraph "cluster_{head.anchor}" {{'
        yield f"{indent}  graph [{self._facts(head)}, {looks}, penwidth={2 if head.times > 1 else 1},"
        yield f"{indent}    label={self._labels[head.anchor].text}]"
        yield from self._rows(rows, depth + 1)
        yield f"{indent}}}"

    def _facts(self, head: Head) -> str:
        """The id of a part, what a pointer over it shows, and where a click leads."""
        lines = [shown(head.path or head.name, 300), *(shown(line, 600) for line in head.told)]
        facts = f'id="{head.anchor}", tooltip={attribute(chr(10).join(filter(None, lines)) or " ")}'
        return f"{facts}, URL={attribute(self._link + head.anchor)}" if self._link else facts


def _arrangement(rows: Rows) -> Iterator[str]:
    """An invisible spine of ranks with the boxes of each, and the left end of each row below the last one's."""
    ranks = ranked(rows)
    yield "  // where things stand, and nothing else"
    yield '  { node [shape=point, width=0, height=0, style=invis, label=""]; edge [style=invis, weight=100]'
    yield f"    {' -> '.join(f'r{number}' for number in range(len(ranks)))} }}"
    for number, boxes in enumerate(ranks):
        names = "; ".join(f'"{name}"' for name in boxes)
        yield f"  {{ rank=same; r{number}; {names} }}"
    for above, below in lined(rows):
        yield f'  "{above}" -> "{below}" [style=invis, weight=10]'
