"""Expressions of the source that is written, and how they are laid out.

Numbers stay apart from the text around them until a class is written: those in which equal blocks differ
become parameters of their class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import wrap
from typing import NamedTuple

from ckptaudit.rebuild.emit.text import LINE, literal

STEP = "    "
_CALLS = re.compile(r"\.\w+\([\w.]*\)")  # what is called on what a call returns: `.to(torch.float16)`


class Number(NamedTuple):
    """An int or float, and what a parameter that stands for it would be called."""

    value: int | float
    hint: str


class Group(NamedTuple):
    """`opening item, item closing`, such as `nn.Linear(` `20`, `256` `)`."""

    opening: str
    items: tuple[Item, ...]
    closing: str = ")"


class Loop(NamedTuple):
    """`code for variable in range(times)`."""

    code: Expression
    variable: str
    times: Expression


Expression = str | Number | Group | Loop


class Item(NamedTuple):
    """An argument or element: `prefix` is `bias=` or `"key": `, `note` what is said beside it."""

    code: Expression
    prefix: str = ""
    note: str = ""


class Statement(NamedTuple):
    """`target`, which is empty or ends in ` = `, and the expression after it; a remark if both are empty.

    In a loop `for i in range(start, stop)` where `loop` says so.
    """

    target: str
    code: Expression
    note: str = ""
    loop: tuple[int, int] | None = None


def call(function: str, *arguments: Expression, **named: Expression) -> Group:
    """`function(arguments, name=argument)`."""
    return Group(
        f"{function}(", (*map(Item, arguments), *(Item(code, f"{name}=") for name, code in named.items()))
    )


def value(thing: object, hint: str) -> Expression:
    """A plain value out of a plan, its numbers kept apart. Raises UnwritableError for anything else."""
    if type(thing) in (int, float):
        return Number(thing, hint)  # type: ignore[arg-type]
    text = literal(thing)
    if isinstance(thing, tuple | list) and thing:
        opening, closing = ("[", "]") if isinstance(thing, list) else ("(", ")")
        items = tuple([Item(value(item, hint)) for item in thing])
        return Group(opening, items, f",{closing}" if text.endswith(",)") else closing)
    return text


def template(code: Expression) -> object:
    """What is left of an expression without its numbers: equal for what can share a class."""
    if isinstance(code, str):
        return code
    if isinstance(code, Number):
        return type(code.value)
    if isinstance(code, Loop):
        return template(code.code), code.variable, template(code.times)
    items = tuple([(item.prefix, template(item.code), item.note) for item in code.items])
    return code.opening, items, code.closing


def numbers(code: Expression) -> Iterator[Number]:
    """The numbers in an expression, from left to right."""
    if isinstance(code, Number):
        yield code
    elif isinstance(code, Loop):
        yield from numbers(code.code)
        yield from numbers(code.times)
    elif isinstance(code, Group):
        for item in code.items:
            yield from numbers(item.code)


def replaced(code: Expression, others: Iterator[Expression]) -> Expression:
    """The expression with the next of `others` in place of each of its numbers."""
    if isinstance(code, Number):
        return next(others)
    if isinstance(code, Loop):
        return Loop(replaced(code.code, others), code.variable, replaced(code.times, others))
    if isinstance(code, Group):
        items = tuple([item._replace(code=replaced(item.code, others)) for item in code.items])
        return code._replace(items=items)
    return code


def inline(code: Expression) -> str | None:
    """The expression on one line; None where something is said beside a part of it."""
    if isinstance(code, str):
        return code
    if isinstance(code, Number):
        return literal(code.value)
    if isinstance(code, Loop):
        one = inline(code.code)
        return None if one is None else f"{one}{_loop(code)}"
    pieces = []
    for item in code.items:
        piece = None if item.note else inline(item.code)
        if piece is None:
            return None
        pieces.append(item.prefix + piece)
    return f"{code.opening}{', '.join(pieces)}{code.closing}"


def _loop(code: Loop) -> str:
    return f" for {code.variable} in range({inline(code.times)})"


def lines_of(statement: Statement, indent: str) -> list[str]:
    """The statement, what is said of it beside or above it."""
    if statement.loop is not None:
        start, stop = statement.loop
        head = f"{indent}for i in range({f'{start}, ' if start else ''}{stop}):"
        return [head, *lines_of(statement._replace(loop=None), indent + STEP)]
    if not statement.target and statement.code == "":
        return remark(statement.note, indent)
    return _laid_out(Item(statement.code, statement.target, statement.note), "", indent)


def _ends_without_comma(code: Expression) -> bool:
    return isinstance(code, Loop) or (isinstance(code, Group) and code.opening in ("[", "{"))


def _chained(prefix: str, group: Group, calls: list[str], after: str, indent: str) -> list[str]:
    """A call with several calls after it, one a line: in parentheses where nothing else holds them."""
    alone = prefix.endswith((" = ", "return "))
    inner = indent + STEP if alone else indent
    head = Item(group._replace(closing=group.closing.removesuffix("".join(calls))), "" if alone else prefix)
    lines = [*_laid_out(head, "", inner), *(f"{inner}{call}" for call in calls)]
    if alone:
        return [f"{indent}{prefix}(", *lines, f"{indent}){after}"]
    return [*lines[:-1], f"{lines[-1]}{after}"]


def remark(text: str, indent: str) -> list[str]:
    """A comment on lines of its own; nothing where there is no text."""
    return [f"{indent}# {line}" for line in wrap(text, LINE - len(indent) - 2, break_long_words=False)]


def _laid_out(item: Item, after: str, indent: str) -> list[str]:
    room = LINE - len(indent)
    one = inline(item.code)
    whole = "" if one is None else f"{item.prefix}{one}{after}"
    is_short = one is not None and len(whole) <= room
    if is_short and item.note and not isinstance(item.code, Loop) and len(whole) + len(item.note) + 4 <= room:
        return [f"{indent}{whole}  # {item.note}"]
    said = remark(item.note, indent)
    if isinstance(item.code, Loop) and (said or not is_short):
        inner = _laid_out(Item(item.code.code), "", indent)
        return [*said, *inner, f"{indent}{_loop(item.code)[1:]}"]
    if is_short or not isinstance(item.code, Group) or not item.code.items:
        return [*said, f"{indent}{whole}"]
    group = item.code
    calls = _CALLS.findall(group.closing)
    if len(calls) > 1:
        return [*said, *_chained(item.prefix, group, calls, after, indent)]
    lines = [line for each in group.items for line in _laid_out(each, ",", indent + STEP)]
    if len(group.items) == 1:
        alone = _laid_out(group.items[0], "", indent + STEP)
        lines = alone if len(alone) == 1 or _ends_without_comma(group.items[0].code) else lines
    return [
        *said,
        f"{indent}{item.prefix}{group.opening}",
        *lines,
        f"{indent}{group.closing.lstrip(',')}{after}",
    ]
