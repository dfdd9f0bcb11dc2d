"""Which of the names that a pickle imports it could call without a call of its own.

An object can be given any attribute, `__setstate__` and `append` among them, and a later opcode then calls
it; a known function may call what it finds deep in its arguments. So a name that is not known to be inert
counts as called wherever it is put as a value, and not just called directly and judged there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.readers.pickle.symbols import Call, Global

_MOST = 400_000  # values looked at; past them every such name counts


def mark_reachable(roots: Iterable[Any], calls: list[Call], names: Iterable[Global]) -> list[Global]:
    """Mark every dangerous name that is a value somewhere as called; those that hand out others."""
    sensitive = {
        found for found in names if found.hands_out or verdict(found.module, found.name) == "dangerous"
    }
    values = _values(roots, calls, sensitive) if sensitive else sensitive
    for found in values:
        found.called = True
    return [found for found in values if found.hands_out]


def _values(roots: Iterable[Any], calls: list[Call], sensitive: set[Global]) -> set[Global]:
    found: set[Global] = set()
    seen: set[int] = set()
    todo: list[Any] = [*roots, *calls]
    while todo and len(found) < len(sensitive):
        value = todo.pop()
        if type(value) is Global:
            found |= {value} & sensitive
        elif type(value) in _HOLDERS and id(value) not in seen:
            seen.add(id(value))
            if len(seen) > _MOST:
                return sensitive
            todo += _parts(value)
    return found


_HOLDERS = (Call, dict, list, tuple, set, frozenset)


def _parts(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return (*value, *value.values())
    if type(value) is not Call:
        return value  # type: ignore[no-any-return]
    func = (value.func,) if type(value.func) is Call else ()
    return (*func, value.args, value.kwargs, value.state, value.items, value.pairs)
