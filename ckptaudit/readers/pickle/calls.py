"""Names that a pickle reaches without importing them: what getattr and its kin would hand out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptaudit.readers.pickle.machine import Pickled
from ckptaudit.readers.pickle.policy import GETTERS, RESOLVERS
from ckptaudit.readers.pickle.symbols import Call, Global


def names_behind(pickled: Pickled) -> Iterator[tuple[str, str, int]]:
    """(module, name, position) for each attribute fetched, and each result of a call that is called again."""
    seen: set[tuple[str, str]] = set()
    for call in pickled.indirect:
        found = _fetched(call) or _indirect(call)
        if found is not None and found not in seen:
            seen.add(found)
            yield *found, call.position


def _fetched(call: Call) -> tuple[str, str] | None:
    """What `getattr(x, "name")`, or a resolver of dotted names, would give."""
    func, args = call.func, call.args
    if type(func) is not Global or type(args) is not tuple:
        return None
    if (func.module, func.name) == ("builtins", "getattr") and len(args) >= 2:
        owner = _name_of(args[0])
        attribute = args[1] if type(args[1]) is str else "?"
        return (owner[0], f"{owner[1]}.{attribute}".lstrip(".")) if owner else ("?", attribute)
    if (func.module, func.name) in RESOLVERS and args and type(args[0]) is str:
        module, _, name = args[0].replace(":", ".").rpartition(".")
        return (module, name) if module else (name, "*")
    return None


def _indirect(call: Call) -> tuple[str, str] | None:
    """What is run by calling the result of a call: attrgetter("system")(os), methodcaller(...)(...)."""
    maker = call.func
    if type(maker) is not Call or type(maker.func) is not Global or type(maker.args) is not tuple:
        return None
    getter = (maker.func.module, maker.func.name)
    if getter == ("builtins", "getattr"):
        return None  # listed where it was fetched
    if getter in GETTERS and maker.args and type(maker.args[0]) is str:
        target = call.args[0] if type(call.args) is tuple and call.args else None
        owner = _name_of(target)
        return (owner[0], f"{owner[1]}.{maker.args[0]}".lstrip(".")) if owner else ("?", maker.args[0])
    return maker.func.module, f"{maker.func.name}()"


def _name_of(value: Any) -> tuple[str, str] | None:
    """The class or module that a symbol stands for, or whose instance it is."""
    hops = 0
    while type(value) is Call and hops < 100:
        value = value.func
        hops += 1
    return (value.module, value.name) if type(value) is Global else None
