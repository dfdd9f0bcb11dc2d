"""Names that a pickle reaches without importing them: what getattr and its kin would hand out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptaudit.readers.pickle.machine import Pickled
from ckptaudit.readers.pickle.policy import GETTERS, RESOLVERS
from ckptaudit.readers.pickle.symbols import Call, Global

_LONGEST = 200  # characters of a name that is fetched
_HOPS = 100


def names_behind(pickled: Pickled) -> Iterator[tuple[str, str, int]]:
    """(module, name, position) for what is reached without being imported by that name.

    That is each attribute fetched, and each result of a call that is called again; and `name()` for a
    function that hands out others, or calls what it is given, where it cannot be seen what.
    """
    seen: set[tuple[str, str]] = set()
    for call in pickled.indirect:
        found = _fetched(call) or _indirect(call) or _unseen(call)
        if found is not None and found not in seen:
            seen.add(found)
            yield *found, call.position
    for escaped in pickled.escaped:
        yield escaped.module, f"{escaped.name}()", escaped.position


def _fetched(call: Call) -> tuple[str, str] | None:
    """What `getattr(x, "name")`, or a resolver of dotted names, would give."""
    func, args = call.func, call.args
    if type(func) is not Global or type(args) is not tuple:
        return None
    if (func.module, func.name) == ("builtins", "getattr") and len(args) >= 2:
        return _joined(_name_of(args[0]), args[1])
    if (func.module, func.name) in RESOLVERS and args and type(args[0]) is str:
        module, _, name = args[0][:_LONGEST].replace(":", ".").rpartition(".")
        return (module, name) if module else (name, "*")
    return None


def _indirect(call: Call) -> tuple[str, str] | None:
    """What is run by calling the result of a call: attrgetter("system")(os), methodcaller(...)(...)."""
    maker = call.func
    if type(maker) is not Call or type(maker.func) is not Global or type(maker.args) is not tuple:
        return None
    getter = (maker.func.module, maker.func.name)
    if getter == ("builtins", "getattr") and _fetched(maker) is not None:
        return None  # listed where it was fetched
    if getter in GETTERS and maker.args and type(maker.args[0]) is str:
        target = call.args[0] if type(call.args) is tuple and call.args else None
        return _joined(_name_of(target), maker.args[0])
    return maker.func.module, f"{maker.func.name}()"


def _unseen(call: Call) -> tuple[str, str] | None:
    """A function that hands out others, where it cannot be told what; bytes to load are told elsewhere."""
    func = call.func
    if type(func) is not Global or func.name == "_load_from_bytes":
        return None
    if (
        (func.module, func.name) in GETTERS - RESOLVERS
        and func.name != "getattr"
        and type(call.args) is tuple
    ):
        return None  # told where its result is called
    return func.module, f"{func.name}()"


def _joined(owner: tuple[str, str] | None, attribute: Any) -> tuple[str, str]:
    name = attribute[:_LONGEST] if type(attribute) is str else "?"
    if owner is None:
        return "?", name
    return owner[0], f"{owner[1][:_LONGEST]}.{name}".lstrip(".")


def _name_of(value: Any) -> tuple[str, str] | None:
    """The class or module that a symbol stands for, or whose instance it is."""
    hops = 0
    while type(value) is Call and hops < _HOPS:
        value = value.func
        hops += 1
    return (value.module, value.name) if type(value) is Global else None
