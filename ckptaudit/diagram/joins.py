"""Edges as DOT text: on which sides they leave and enter, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping

from ckptaudit.diagram.flow import Placed, Rows, beside
from ckptaudit.diagram.parts import Edge, End, Rankdir
from ckptaudit.text import plural

_TIE, _RENAME = "#7b2cbf", "#0a7d55"


def joined(edge: Edge, rows: Rows, frames: Mapping[str, Placed], rankdir: Rankdir) -> str:
    """One statement. Edges of Graphviz end at nodes: that of a frame ends at a box in it, cut at its border."""
    tail, head = (_boxes(end, frames) for end in (edge.tail, edge.head))
    down, right = beside(rows, tail[-1], head[0])
    if down == 0:
        tail = tail[:1] if right < 0 else [_last_top(edge.tail, frames)]
        head = head[:1] if right > 0 else [_last_top(edge.head, frames)]
    out, back = _sides(edge, down, right, rankdir)
    ends = f"{_port(tail[-1], edge.tail, out)} -> {_port(head[0], edge.head, back)}"
    clipped = [
        f'{name}="cluster_{end.part}"'
        for name, end in (("ltail", edge.tail), ("lhead", edge.head))
        if end.part in frames
    ]
    return f"{ends} [{', '.join([_looks(edge), *clipped])}]"


def _boxes(end: End, frames: Mapping[str, Placed]) -> list[str]:
    """The first and last box of a part."""
    frame = frames.get(end.part)
    return [end.part] if frame is None else [frame.tops[0], frame.bottom]


def _last_top(end: End, frames: Mapping[str, Placed]) -> str:
    frame = frames.get(end.part)
    return end.part if frame is None else frame.tops[-1]


def _sides(edge: Edge, down: int, right: int, rankdir: Rankdir) -> tuple[str, str]:
    """Where an edge leaves and enters: from row to row around the left, else straight on."""
    on, back, along, against = ("s", "n", "e", "w") if rankdir == "TB" else ("e", "w", "s", "n")
    if down and edge.kind == "tie":
        return "w", "w"
    if down:
        return (on, back) if down > 0 else (back, on)
    if edge.tail.row or edge.head.row:
        return ("e", "w") if right > 0 else ("w", "e") if right else ("e", "e")
    return (along, against) if right > 0 else (against, along)


def _port(box: str, end: End, side: str) -> str:
    if not end.row:
        return f'"{box}":{side}'
    return f'"{box}":"{end.row}{"-e" if side == "e" else ""}":{side}'


def _looks(edge: Edge) -> str:
    if edge.kind == "order":
        return 'constraint=false, arrowsize=0.7, tooltip="runs before"'
    if edge.kind == "tie":
        label = f"tied: {plural(edge.storages, 'storage')}, {plural(edge.keys, 'key')}"
        line = f'dir=both, penwidth=2.5, arrowsize=0.7, color="{_TIE}", fontcolor="{_TIE}"'
    else:
        many = f", {plural(edge.keys, 'key')}" if edge.keys > 1 else ""
        label = f"renamed? ({edge.sure}{many})"
        line = f'style=dashed, penwidth=1.5, color="{_RENAME}", fontcolor="{_RENAME}"'
    return f'constraint=false, {line}, xlabel="{label}", tooltip="{label}"'
