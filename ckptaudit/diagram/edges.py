"""What joins parts: memory that is shared, names that changed, and order of execution where it is known."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ckptaudit.diagram.order import in_order
from ckptaudit.diagram.outline import Item, Outline
from ckptaudit.diagram.parts import Edge, End
from ckptaudit.diagram.scene import Scene
from ckptaudit.diagram.standing import Renamed
from ckptaudit.fold import Node
from ckptaudit.model import Path

# Ties that join the same two boxes are drawn from row to row up to this many, and as one edge beyond.
_ROWS_APART = 2
_ARROWS = 3  # of one mapping of names


class Places:
    """Where a tensor, or what hides it, is drawn."""

    def __init__(self, scene: Scene, outline: Outline, ends: Mapping[Node, End]) -> None:
        self._scene = scene
        self._outline = outline
        self._ends = ends

    def of(self, path: Path) -> End | None:
        """The row of a tensor, or the nearest drawn part that it is in."""
        node = self._scene.nodes.get(path)
        here: Node | None = None if node is None else self._outline.standing_for(node)
        while here is not None:
            if here in self._ends:
                return self._ends[here]
            here = here.parent
        return None


def ties(scene: Scene, places: Places) -> tuple[list[Edge], dict[End, tuple[int, int]]]:
    """An edge for each tie between parts; and (storages, keys) of those inside of one."""
    joined: dict[tuple[End, End], tuple[int, int]] = {}
    inside: dict[End, tuple[int, int]] = {}
    for group in scene.ties:
        ends = list(dict.fromkeys(end for tensor in group if (end := places.of(tensor.path)) is not None))
        if len(ends) == 1:
            storages, keys = inside.get(ends[0], (0, 0))
            inside[ends[0]] = storages + 1, keys + len(group)
        for pair in itertools.pairwise(ends):
            storages, keys = joined.get(pair, (0, 0))
            joined[pair] = storages + 1, keys + len(group)
    edges = [Edge("tie", tail, head, storages, keys) for (tail, head), (storages, keys) in joined.items()]
    return list(_bundled(edges)), inside


def _bundled(edges: list[Edge]) -> Iterator[Edge]:
    """Many edges between the same two boxes made one, from box to box."""
    between: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        between.setdefault((edge.tail.part, edge.head.part), []).append(edge)
    for (tail, head), several in between.items():
        if len(several) <= _ROWS_APART or tail == head:
            yield from several
        else:
            storages, keys = (sum(getattr(edge, name) for edge in several) for name in ("storages", "keys"))
            yield Edge("tie", End(tail), End(head), storages, keys)


def renames(found: Iterable[Renamed], places: Places) -> list[Edge]:
    """Arrows from box to box, however many names changed; from row to row where only one did.

    A prefix that is new in all names would be an arrow from each box: then one, the widest, stands for all.
    """
    edges = []
    for renamed in found:
        between: dict[tuple[str, str], list[tuple[End, End]]] = {}
        for old, new in renamed.pairs:
            tail, head = places.of(old), places.of(new)
            if tail is not None and head is not None and tail != head:
                between.setdefault((tail.part, head.part), []).append((tail, head))
        joined = sorted(between.items(), key=lambda item: -len(item[1]))
        is_one = len(joined) > _ARROWS
        for (tail_part, head_part), pairs in joined[:1] if is_one else joined:
            tail, head = pairs[0] if len(pairs) == 1 else (End(tail_part), End(head_part))
            keys = len(renamed.pairs) if is_one else len(pairs)
            edges.append(Edge("rename", tail, head, keys=keys, sure=renamed.sure))
    return edges


def orders(items: Iterable[Item], form: str, ends: Mapping[Node, End]) -> Iterator[Edge]:
    """What runs after what, in the modules that are drawn open and whose order the file tells."""
    stack = list(items)
    while stack:
        item = stack.pop()
        stack += item.shown
        if not (item.is_open and in_order(item.first, form)) or item.left_out:
            continue
        drawn = [ends[inner.first] for inner in item.shown if inner.first in ends]
        for tail, head in itertools.pairwise(drawn):
            yield Edge("order", replace(tail, row=""), replace(head, row=""))
