"""Classes of the source: blocks that are alike share one, and what differs in them is a parameter of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptaudit.rebuild.emit.code import (
    STEP,
    Expression,
    Group,
    Item,
    Number,
    Statement,
    call,
    lines_of,
    numbers,
    replaced,
    template,
)
from ckptaudit.rebuild.emit.names import Names, is_attribute
from ckptaudit.rebuild.emit.text import docstring, told
from ckptaudit.rebuild.emit.tree import Node

_ATTRIBUTE = re.compile(r"self\.(\w+) = ")
PARAMETERS = 5  # more of them make two classes easier to read than one


class Body(NamedTuple):
    """The class of one module, its numbers still in it: `init` are the statements of its constructor."""

    hint: str
    bases: str
    cls: str | None
    init: tuple[Statement, ...]
    forward: str


@dataclass(slots=True)
class Class:
    """One class of the source, and the modules that are of it."""

    name: str
    body: Body
    parameters: tuple[str, ...]
    nodes: list[Node]

    def lines(self) -> list[str]:
        """Its source."""
        lines = [f"class {self.name}({self.body.bases}):", *docstring([_about(self)], STEP)]
        if self.body.init or self.parameters:
            names = ", ".join(("self", *self.parameters))
            lines += ["", f"{STEP}def __init__({names}):", f"{STEP * 2}super().__init__()"]
            for statement in self.body.init:
                lines += lines_of(statement, STEP * 2)
        if self.body.forward:
            lines += ["", f"{STEP}def forward(self, *inputs, **more):"]
            lines += lines_of(Statement("raise ", call("NotImplementedError", self.body.forward)), STEP * 2)
        return lines


def _about(made: Class) -> str:
    first = ".".join(made.nodes[0].path)
    where = f"Module {told(first)}" if first else "The model itself"
    if len(made.nodes) > 1:
        where = f"Modules {told(first)} and {len(made.nodes) - 1} more"
    cls = made.body.cls
    return f"{where}." if cls is None else f"{where}: {told(cls)} in the file."


_Row = tuple[Node, Body, tuple[Number, ...]]


def share(bodies: Sequence[tuple[Node, Body]], names: Names) -> tuple[list[Class], dict[Node, Expression]]:
    """The classes of these modules, and the call that makes each of the modules."""
    groups: dict[object, list[_Row]] = {}
    for node, body in bodies:
        key = (body.hint, body.bases, body.cls, body.forward, tuple(map(_template, body.init)))
        found = tuple([number for statement in body.init for number in numbers(statement.code)])
        groups.setdefault(key, []).append((node, body, found))
    made: list[Class] = []
    calls: dict[Node, Expression] = {}
    for group in groups.values():
        columns = _varying([found for _, _, found in group])
        if len(columns) <= PARAMETERS:
            made.append(_one_class(group, columns, names, calls))
            continue
        apart: dict[object, list[_Row]] = {}
        for each in group:
            apart.setdefault(tuple([number.value for number in each[2]]), []).append(each)
        made += [_one_class(alike, {}, names, calls) for alike in apart.values()]
    return made, calls


def _template(statement: Statement) -> object:
    return statement.target, template(statement.code), statement.note, statement.loop


def _varying(rows: Sequence[tuple[Number, ...]]) -> dict[tuple[object, ...], list[int]]:
    """The places in which numbers differ, those together that always have the same number."""
    found: dict[tuple[object, ...], list[int]] = {}
    for place, column in enumerate(zip(*rows, strict=True)):
        values = tuple([number.value for number in column])
        if any(value != values[0] for value in values):
            found.setdefault(values, []).append(place)
    return found


def _one_class(
    group: Sequence[_Row],
    columns: dict[tuple[object, ...], list[int]],
    names: Names,
    calls: dict[Node, Expression],
) -> Class:
    _, body, found = group[0]
    owners = [_attribute(statement) for statement in body.init for _ in numbers(statement.code)]
    first = [places[0] for places in columns.values()]
    parameters = _parameters([(owners[place], found[place].hint) for place in first], names)
    by_place = {
        place: name for name, places in zip(parameters, columns.values(), strict=True) for place in places
    }
    others: Iterator[Expression] = iter([by_place.get(place, number) for place, number in enumerate(found)])
    init = tuple([each._replace(code=replaced(each.code, others)) for each in body.init])
    name = names.new(body.hint)
    for row, (node, _, _) in enumerate(group):
        values = [Number(values[row], by) for values, by in zip(columns, parameters, strict=True)]  # type: ignore[arg-type]
        calls[node] = Group(f"{name}(", tuple(map(Item, values)))
    return Class(name, body._replace(init=init), tuple(parameters), [node for node, _, _ in group])


def _attribute(statement: Statement) -> str:
    """`conv1` of `self.conv1 = `."""
    found = _ATTRIBUTE.fullmatch(statement.target)
    return "" if found is None else found[1]


def _parameters(hints: list[tuple[str, str]], classes: Names) -> list[str]:
    """Names for parameters, by attribute and argument that they are for, and none that hides a class."""
    names = Names(classes.taken)
    wanted = [(owner, hint if is_attribute(hint) else "value") for owner, hint in hints]
    again = Counter(hint for _, hint in wanted)
    return [names.new(f"{owner}_{hint}" if owner and again[hint] > 1 else hint) for owner, hint in wanted]
