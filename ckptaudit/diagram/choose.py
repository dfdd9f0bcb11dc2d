"""Which modules are drawn open, so that a picture stays as small as was asked for."""

from __future__ import annotations

from ckptaudit.diagram.outline import Item, Outline
from ckptaudit.diagram.parts import Options

# With a depth that was asked for, boxes are limited only by what a machine can lay out in a while.
_ANY_DEPTH = 2000
_LEAST = 3  # a picture that fills less than one part in so many of what it may goes into a module in part


class Chooser:
    """Opens modules level by level, as long as what is then drawn fits."""

    def __init__(self, outline: Outline, options: Options) -> None:
        self._outline = outline
        self._most = max(2, options.max_nodes) if options.depth is None else _ANY_DEPTH
        self._depth = options.depth
        self.count = 0

    def choose(self, roots: list[Item]) -> None:
        """Open what is to be open at or below `roots`."""
        self.count = len(roots)
        level = roots
        while level:
            forced = [item for item in level if self._outline.is_forced(item)]
            for item in forced:
                self._open(item)
            level = [*self._below(forced), *self._open_level([item for item in level if item not in forced])]

    def _open_level(self, level: list[Item]) -> list[Item]:
        """Open all modules of a level, or the largest of it where there is room; what is in them."""
        if not level or (self._depth is not None and level[0].level >= self._depth):
            return []
        # Of what differs from a fold only the difference is drawn, of an optimizer only how large it is.
        wanted = [item for item in level if not item.group.is_apart and item.rule is None]
        room = self._most - self.count
        if self._fits(wanted, room):
            for item in wanted:
                self._open(item)
            return self._below(wanted)
        opened = []
        for item in sorted(wanted, key=lambda item: -self._outline.weight(item).nbytes):
            if self.count >= self._most:
                break
            if self.count + self._gain(item) <= self._most or self.count * _LEAST <= self._most:
                self._open(item)
                opened.append(item)
        # Which ones are open is told by size, what is in them by the file: in its order.
        return self._below([item for item in wanted if item in opened])

    def _fits(self, items: list[Item], room: int) -> bool:
        """Whether all of them can be open; looked into only as far as that is told by."""
        for item in items:
            room -= self._gain(item)
            if room < 0:
                return False
        return True

    def _gain(self, item: Item) -> int:
        """How many boxes more are drawn where this one is open."""
        items, rows = self._outline.inside(item)
        return len(items) + bool(rows and items) - 1 if items else 0

    def _open(self, item: Item) -> None:
        items, rows = self._outline.inside(item)
        item.is_open = True
        item.rows = rows
        room = max(1, self._most - self.count - bool(rows))
        if len(items) > room + 1:
            kept = self._kept(items, room)
            item.left_out = [inner for inner in items if inner not in kept]
            items = [inner for inner in items if inner in kept]
        item.shown = items
        self.count += len(items) + bool(item.left_out) + bool(rows and items) - 1 if items else 0

    def _kept(self, items: list[Item], room: int) -> set[Item]:
        """The largest of too many, and those that were asked for."""
        forced = {item for item in items if self._outline.is_forced(item)}
        largest = sorted(items, key=lambda item: -self._outline.weight(item).nbytes)
        return forced | set(largest[: max(0, room - len(forced))])

    def _below(self, items: list[Item]) -> list[Item]:
        return [inner for item in items for inner in item.shown]
