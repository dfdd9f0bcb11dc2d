"""The tree as it could be drawn: blocks that are alike folded, each module open or closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ckptaudit.diagram.order import in_order
from ckptaudit.diagram.scene import Group, Scene, Weight
from ckptaudit.fold import Fold, Node, folds, ordered


@dataclass(slots=True, eq=False)
class Item:
    """One module, or several that are alike. Only the first of `members` is ever drawn.

    `rule` is the module from which this one, which stands beside a fold, differs. Where it is open, `shown`
    are the items in it that are drawn; `left_out` those that are only counted, and `rows` its own tensors.
    """

    group: Group
    name: str
    members: tuple[Node, ...]
    level: int
    rule: Node | None = None
    is_open: bool = False
    shown: list[Item] = field(default_factory=list)
    left_out: list[Item] = field(default_factory=list)
    rows: list[Fold] = field(default_factory=list)

    @property
    def first(self) -> Node:
        """The module that is drawn for all."""
        return self.members[0]


class Outline:
    """Makes items out of nodes, and knows which node stands for which."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stands_for: dict[Node, Node] = {}
        self._names: dict[Node, dict[tuple[str, bool], Node]] = {}
        self._inside: dict[Item, tuple[list[Item], list[Fold]]] = {}

    def weight(self, item: Item) -> Weight:
        """What all members of an item weigh."""
        return self._scene.weight(item.members)

    def is_forced(self, item: Item) -> bool:
        """Whether it was asked for by name."""
        return item.first in self._scene.forced

    def inside(self, item: Item) -> tuple[list[Item], list[Fold]]:
        """The modules in an item, and the tensors that are its own."""
        if item not in self._inside:
            self._inside[item] = self._found(item)
        return self._inside[item]

    def _found(self, item: Item) -> tuple[list[Item], list[Fold]]:
        items: list[Item] = []
        rows: list[Fold] = []
        for fold in self._folds(item.first):
            for node in fold.members[1:]:
                self._stands_for[node] = fold.members[0]
            if fold.members[0].tensor is not None:
                rows.append(fold)
                rows += [Fold((node,)) for node in fold.odd]
            else:
                items += self._items(item.group, fold, item.level + 1)
        return items, rows

    def _folds(self, node: Node) -> list[Fold]:
        children = ordered(node.children)
        found = folds(children, self._scene.apart)
        if in_order(node, self._scene.checkpoint.format) and not _consecutive(children, found):
            return [Fold((child,)) for child in children]  # in a row whose order is told, each has its place
        return found

    def _items(self, group: Group, fold: Fold, level: int) -> Iterator[Item]:
        first = fold.members[0]
        if len(fold.members) > 1:
            yield Item(group, fold.label, fold.members, level)
            for node in fold.odd:
                yield Item(group, node.name, (node,), level, rule=first)
            return
        inner = self._folds(first) if first not in self._scene.apart else []
        if len(inner) == 1 and _is_list(inner[0]):
            # A list of nothing but blocks is one frame, and not a frame around one.
            for node in inner[0].members[1:]:
                self._stands_for[node] = inner[0].members[0]
            yield Item(group, f"{first.name} {inner[0].label}", inner[0].members, level)
            return
        yield Item(group, first.name, fold.members, level)

    def standing_for(self, node: Node) -> Node:
        """The node that is drawn, or hidden, in the place of this one: that of the first of folded blocks."""
        way: list[Node] = []
        here: Node | None = node
        while here is not None:
            way.append(here)
            here = here.parent
        at = way.pop()
        while way:
            step = way.pop()
            at = self._child(at, step)
            at = self._stands_for.get(at, at)
        return at

    def _child(self, node: Node, like: Node) -> Node:
        names = self._names.get(node)
        if names is None:
            names = self._names[node] = {
                (child.name, child.tensor is None): child for child in reversed(node.children)
            }
        return names.get((like.name, like.tensor is None), node)


def _is_list(fold: Fold) -> bool:
    blocks = len(fold.members) > 1 and not fold.odd and fold.members[0].tensor is None
    return blocks and fold.label.startswith("×")


def _consecutive(children: list[Node], found: list[Fold]) -> bool:
    """Whether every fold is of siblings that follow each other."""
    place = {child: number for number, child in enumerate(children)}
    return all(
        place[fold.members[-1]] - place[fold.members[0]] == len(fold.members) - 1 and not fold.odd
        for fold in found
    )
