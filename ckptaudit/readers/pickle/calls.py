"""Names that a pickle reaches without importing them: what getattr and its kin would hand out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ckptaudit.readers.pickle.instances import is_getattr
from ckptaudit.readers.pickle.machine import Pickled
from ckptaudit.readers.pickle.policy import GETTERS, MAKERS, RESOLVERS, SPELLERS, verdict
from ckptaudit.readers.pickle.symbols import Call, Global

_LONGEST = 200  # characters of a name that is fetched
_HOPS = 100
_NESTED = 5  # attributes of attributes
_SINGLETONS = ("Ellipsis", "NotImplemented")


class Reached(NamedTuple):
    """A name that is reached, where, and whether it is called: as one that makes plain objects, or at all."""

    module: str
    name: str
    called: bool
    instance: bool
    position: int


def names_behind(pickled: Pickled) -> Iterator[Reached]:
    """What is reached without being imported by that name.

    That is each attribute fetched, and each result of a call that is called again; and `name()` for a
    function that hands out others, or calls what it is given, where it cannot be seen what, and for a class
    that is known for its plain instances and called otherwise.
    """
    seen: set[tuple[str, str, bool, bool]] = set()
    for call in pickled.indirect:
        for found in _behind(call):
            if found[:4] not in seen:
                seen.add(found[:4])
                yield found
    for escaped in pickled.escaped:
        yield Reached(escaped.module, f"{escaped.name}()", True, False, escaped.position)


def _behind(call: Call) -> Iterator[Reached]:
    if _is_spelling(call):
        return
    fetched = _fetched(call)
    if fetched is not None:
        # What runs code is as good as called where it is kept.
        ran = call.ran or call.func.name != "getattr" or verdict(*fetched) == "dangerous"
        yield Reached(*fetched, call.called or ran, call.called and not ran, call.position)
    elif type(call.func) is Global:
        unseen = _unseen(call)
        if unseen is not None:
            yield Reached(*unseen, True, False, call.position)
    else:
        indirect = _indirect(call)
        if indirect is not None:
            yield Reached(*indirect, True, False, call.position)


def _is_spelling(call: Call) -> bool:
    """Whether this is how pickles spell a type: `typing.List[int]`, `type(None)`, `int | None`."""
    func, args = call.func, call.args
    if type(func) is not Global or (func.module, func.name) not in SPELLERS or type(args) is not tuple:
        return False
    first = args[0] if args else ""
    owner = (first.module, first.name) if type(first) is Global else ("", "")
    if func.name == "getitem":
        return owner[0] in ("typing", "collections.abc", "typing_extensions")
    if func.name == "reduce":
        return owner[0] in ("operator", "_operator") and owner[1] in ("or_", "and_")
    return len(args) == 1 and (first is None or (owner[0] == "builtins" and owner[1] in _SINGLETONS))


def _fetched(call: Call) -> tuple[str, str] | None:
    """What `getattr(x, "name")`, or a resolver of dotted names, would give."""
    func, args = call.func, call.args
    if type(func) is not Global or type(args) is not tuple:
        return None
    if (func.module, func.name) == ("builtins", "getattr") and len(args) >= 2:
        return _joined(_name_of(args[0]), args[1])
    if (func.module, func.name) in RESOLVERS and args and all(type(part) is str for part in args):
        dotted = ".".join(part[:_LONGEST] for part in args[:2])
        module, _, name = dotted.replace(":", ".").rpartition(".")
        return (module, name) if module else (name, "*")
    return None


def _indirect(call: Call) -> tuple[str, str] | None:
    """What is run by calling the result of a call: attrgetter("system")(os), methodcaller(...)(...)."""
    maker = call.func
    if type(maker.func) is not Global or type(maker.args) is not tuple:
        return "?", "?"
    getter = (maker.func.module, maker.func.name)
    if getter == ("builtins", "getattr") and _fetched(maker) is not None:
        return None  # listed where it was fetched
    if getter in GETTERS and maker.args and type(maker.args[0]) is str:
        target = call.args[0] if type(call.args) is tuple and call.args else None
        return _joined(_name_of(target), f"{maker.args[0][:_LONGEST]}()")
    return maker.func.module, f"{maker.func.name}()"


def _unseen(call: Call) -> tuple[str, str] | None:
    """A function that hands out others, where it cannot be told what; bytes to load are told elsewhere."""
    func = call.func
    if func.name == "_load_from_bytes" and type(call.args) is tuple:
        return None
    if (func.module, func.name) in MAKERS and type(call.args) is tuple:
        return None  # told where its result is called
    return func.module, f"{func.name}()"


def _joined(owner: tuple[str, str] | None, attribute: Any) -> tuple[str, str]:
    name = attribute[:_LONGEST] if type(attribute) is str else "?"
    if owner is None:
        return "?", name
    return owner[0], f"{owner[1][:_LONGEST]}.{name}".lstrip(".")


def _name_of(value: Any) -> tuple[str, str] | None:
    """The class or module that a symbol stands for, or whose instance it is."""
    attributes: list[str] = []
    for _ in range(_HOPS):
        if type(value) is not Call or len(attributes) > _NESTED:
            break
        if is_getattr(value):
            attributes.insert(0, value.args[1][:_LONGEST])
            value = value.args[0]
        else:
            value = _maker(value)
    return (value.module, ".".join([value.name, *attributes])) if type(value) is Global else None


def _maker(call: Call) -> Any:
    """What made the result of a call: the class that copyreg and its kin are given, or else the function."""
    func, args = call.func, call.args
    given = type(func) is Global and func.role == "class"
    return args[0] if given and type(args) is tuple and args else func
