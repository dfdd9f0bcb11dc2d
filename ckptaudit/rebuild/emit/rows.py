"""Equal modules in a row, written once: in a list, or one statement after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ckptaudit.rebuild.emit.code import (
    Expression,
    Group,
    Item,
    Loop,
    Number,
    Statement,
    numbers,
    replaced,
    template,
)

LEAST = 3  # fewer are not worth a loop
_NUMBERED = re.compile(r"([A-Za-z0-9_ -]*?)(0|[1-9][0-9]{0,8})")


def in_runs(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items of a list, runs of equal ones as a loop: `Block() for _ in range(12)`."""
    found: list[Item] = []
    keys = [(template(item.code), item.note) for item in items]
    rows = [[number.value for number in numbers(item.code)] for item in items]
    start = 0
    while start < len(items):
        stop = start + 1
        while stop < len(items) and keys[stop] == keys[start] and _goes_on(rows, start, stop):
            stop += 1
        if stop - start >= LEAST and not isinstance(items[start].code, str):
            found.append(_repeated(items[start], rows[start : start + 2], stop - start))
        else:
            found += items[start:stop]
        start = stop
    return tuple(found)


def _repeated(item: Item, rows: Sequence[Sequence[int | float]], times: int) -> Item:
    """The item so many times: numbers that differ between the first two are counted."""
    counted = [one != other for one, other in zip(*rows, strict=True)]
    pairs = zip(counted, numbers(item.code), strict=True)
    others: Iterator[Expression] = iter(["i" if counts else number for counts, number in pairs])
    variable = "i" if any(counted) else "_"
    return item._replace(code=Loop(replaced(item.code, others), variable, Number(times, "count")))


def _goes_on(rows: Sequence[Sequence[int | float]], start: int, at: int) -> bool:
    """Whether each number of item `at` is that of the first, or counts them from 0."""
    second = rows[start + 1]
    for first, next_, here in zip(rows[start], second, rows[at], strict=True):
        counts = first == 0 and next_ == 1 and type(first) is int
        if here != first and not (counts and here == at - start):
            return False
        if counts and here != at - start:
            return False
    return True


def in_loops(children: Sequence[tuple[str, Statement]]) -> Iterator[Statement]:
    """Statements that add children, by name; those that differ only in a number in the name as a loop."""
    start = 0
    while start < len(children):
        stop = start + 1
        while stop < len(children) and _follows(children[stop - 1], children[stop]):
            stop += 1
        if stop - start >= LEAST:
            yield _loop(children[start:stop])
        else:
            yield from (statement for _, statement in children[start:stop])
        start = stop


def _split(name: str) -> tuple[str, int] | None:
    found = _NUMBERED.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def _follows(one: tuple[str, Statement], other: tuple[str, Statement]) -> bool:
    names = _split(one[0]), _split(other[0])
    if names[0] is None or names[1] is None or names[1] != (names[0][0], names[0][1] + 1):
        return False
    codes = [_added(statement) for _, statement in (one, other)]
    return (
        codes[0] is not None
        and codes[0] == codes[1]
        and one[1].note == other[1].note
        and isinstance(codes[0], Group)
    )


def _added(statement: Statement) -> Expression | None:
    """What is added under a name that `add_module` takes."""
    if statement.target.startswith("self._modules"):
        return None
    if statement.target:
        return statement.code
    return statement.code.items[1].code if isinstance(statement.code, Group) else None


def _loop(children: Sequence[tuple[str, Statement]]) -> Statement:
    (name, first), (last, _) = children[0], children[-1]
    (stem, start), (_, stop) = _split(name) or ("", 0), _split(last) or ("", 0)
    code = _added(first)
    assert code is not None
    added = Group("self.add_module(", (Item(f'f"{stem}{{i}}"'), Item(code)))
    return Statement("", added, first.note, loop=(start, stop + 1))
