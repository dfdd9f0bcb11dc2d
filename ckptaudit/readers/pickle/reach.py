"""How the names that a pickle imports are used: called, kept, or made plain objects of.

An object can be given any attribute, `__setstate__` and `append` among them, and a later opcode then calls
it; a known function may call what it finds deep in its arguments. So a name that runs code counts as called
wherever it is put as a value, and a name that nobody knows where something is bound to call it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ckptaudit.readers.pickle.instances import is_getattr, is_word, makes_instance
from ckptaudit.readers.pickle.policy import MAKERS, is_class_name, verdict
from ckptaudit.readers.pickle.symbols import Call, Global

_MOST = 400_000  # values looked at; past them every such name counts
# Attributes of an object that opcodes, or what copies it, look up on the object itself and call.
_HOOKS = (
    "__setstate__",
    "append",
    "extend",
    "add",
    "__deepcopy__",
    "__reduce__",
    "__reduce_ex__",
    "__copy__",
)
_HOLDERS = (Call, dict, list, tuple, set, frozenset)
_HANDS_ON = ("keep", "class", "rebuild")
_NESTED = 20  # rebuild functions that call each other


def mark_uses(
    roots: list[Any], calls: list[Call], names: Iterable[Global], planted: list[Any]
) -> list[Global]:
    """Mark what is called without a call of its own, and what only makes plain objects.

    `planted` is what the pickle puts into classes and functions themselves. Answers with the names that
    hand out others and are kept for something else to call, and those known as long as they are not called.
    """
    names = list(names)
    judged = [(found, verdict(found.module, found.name)) for found in names]
    sensitive = {found for found, rank in judged if found.hands_out or rank == "dangerous"}
    unknown = {found for found, rank in judged if rank == "unknown"}
    made_only = {found for found in names if found.made_only}
    uses = _Uses(unknown | made_only)
    if uses.unknown or any((found.module, found.name) in MAKERS for found in sensitive):
        for call in calls:
            uses.look_at(call)
        uses.run(planted)
        uses.settle(unknown)
    kept = _values([*roots, *planted, *calls], sensitive) if sensitive else sensitive
    for found in kept:
        found.called = True
    handing = [found for found in {*kept, *uses.escaped} if found.hands_out]
    return [*handing, *(found for found in made_only if found in uses.ran)]


class _Uses:
    """What becomes of the names that nobody knows, call by call."""

    def __init__(self, unknown: set[Global]) -> None:
        self.unknown = unknown
        self.escaped: set[Global] = set()  # makers of getters whose result is bound to be called
        self._made: set[Global] = set()
        self.ran: set[Global] = set()  # what is called with who knows what
        self._seen: dict[bool, set[int]] = {True: set(), False: set()}

    def look_at(self, call: Call) -> None:
        """Take one call, and what is done to its result, into account."""
        func, args = call.func, call.args
        if type(func) is Global:
            if func in self.unknown:
                if func not in self.ran:
                    (self._made if makes_instance(call) and _is_filled(call) else self.ran).add(func)
            elif func.role and type(args) is tuple:
                self._given(func.role, args)
        if call.state is not None:
            self._hooks(call.state)
        if call.pairs is not None or call.kwargs is not None:
            self._hooks((call.pairs, call.kwargs))  # mappings that hand out their items as attributes
        if args and call.how in ("newobj", "newobj_ex"):
            self._walk([args, call.kwargs], classes=False)
        elif args and type(args) is tuple:
            for part in args:
                if type(part) is Call and part.state is not None:
                    self._attributes(call, part.state)
                elif type(part) is dict:
                    self._hooks((part,))
        changed = call.state is not None or call.items is not None or call.pairs is not None
        if changed and is_getattr(call):
            call.called = call.ran = True  # what was fetched is changed in place

    def settle(self, names: Iterable[Global]) -> None:
        """Mark `names` with what was found."""
        for found in names:
            found.called = found.called or found in self.ran or found in self._made
            found.instance = found in self._made and found not in self.ran

    def run(self, values: Iterable[Any]) -> None:
        """Count every name in `values` as called, and each fetched attribute."""
        self._walk(values, classes=True)

    def _given(self, does: str, args: tuple[Any, ...]) -> None:
        """Follow a call of a known function of that role to what it calls among its arguments."""
        for _ in range(_NESTED):
            if does != "rebuild" or len(args) < 3:
                break
            # `_rebuild_from_type_v2(func, cls, args, state)` calls func(*args), which may be itself again.
            func, cls, inner = args[:3]
            self._makes(cls)
            self._hooks(args[3:4])
            if type(func) is not Global or func in self.unknown:
                self.run([func])
                return
            does, args = func.role or ("run" if func.calls_back else ""), inner
            if type(args) is not tuple:
                return
        if does in ("run", "rebuild"):
            self.run(args)
        elif does == "class" and args:
            self._makes(args[0])
            # `_reconstructor(cls, base, state)` calls base.__init__.
            self.run([part for part in args[1:2] if type(part) is Global])

    def _makes(self, cls: Any) -> None:
        if type(cls) is Global and cls in self.unknown:
            self._made.add(cls)

    def _hooks(self, states: Iterable[Any]) -> None:
        for state in states:
            for part in state if type(state) is tuple else (state,):
                if type(part) is dict:
                    self.run([part[hook] for hook in _HOOKS if hook in part])

    def _attributes(self, call: Call, states: list[Any]) -> None:
        # What a function is given may have any attribute, which it may call: `OrderedDict(x)` calls x.keys().
        holds = type(call.func) is Global and call.func.role in _HANDS_ON
        if not (holds or is_getattr(call) or _is_module(states)):
            self._walk(states, classes=False)

    def _walk(self, values: Iterable[Any], *, classes: bool) -> None:
        """Count the names in `values` as called; with those of classes, or without."""
        seen, todo = self._seen[classes], [*values]
        while todo:
            value = todo.pop()
            if type(value) is Global:
                if value in self.unknown and (classes or not is_class_name(value.name)):
                    self.ran.add(value)
            elif type(value) in _HOLDERS and id(value) not in seen:
                if len(seen) > _MOST:
                    self.ran |= self.unknown
                    return
                seen.add(id(value))
                if type(value) is Call:
                    self._result_is_called(value)
                todo += _parts(value)

    def _result_is_called(self, call: Call) -> None:
        if is_getattr(call):
            call.called = call.ran = True
        elif type(call.func) is Global and (call.func.module, call.func.name) in MAKERS:
            self.escaped.add(call.func)


def _is_filled(call: Call) -> bool:
    """Whether its state is attributes or plain values: a text for `__setstate__` can be a command."""
    return all(type(state) is not str or is_word(state) for state in call.state or ())


def _is_module(states: list[Any]) -> bool:
    """Whether these are the attributes of a torch.nn.Module, which honest calls are given."""
    return any(type(state) is dict and "_parameters" in state and "_modules" in state for state in states)


def _values(roots: Iterable[Any], sensitive: set[Global]) -> set[Global]:
    found: set[Global] = set()
    seen: set[int] = set()
    todo: list[Any] = [*roots]
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


def _parts(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return (*value, *value.values())
    if type(value) is not Call:
        return value  # type: ignore[no-any-return]
    func = (value.func,) if type(value.func) is Call else ()
    return (*func, value.args, value.kwargs, value.state, value.items, value.pairs)
