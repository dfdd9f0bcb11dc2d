"""The opcodes that import, call and change objects; here nothing is imported, called or changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptaudit.readers.pickle.literals import utf8
from ckptaudit.readers.pickle.state import State, underflow
from ckptaudit.readers.pickle.symbols import Call, Global, PickleError


def extension(width: int) -> Callable[[State], None]:
    """EXT1, EXT2, EXT4: a name by its code in the registry of copyreg."""

    def handler(state: State) -> None:
        start = state.pos
        state.pos += 1
        code = int.from_bytes(state.take(width), "little", signed=width == 4)
        if code <= 0:
            raise PickleError("an extension code that is not positive")
        # What it names is known only to the process that loads the file: copyreg's registry.
        state.push_global("copyreg._inverted_registry", str(code), start)

    return handler


def import_global(state: State) -> None:
    """GLOBAL: a module and a name, a line each."""
    start = state.pos
    state.pos += 1
    module = utf8(state.line())
    name = utf8(state.line())
    if not module or not name:
        raise PickleError("a GLOBAL without a name")
    state.push_global(module, name, start)


def stack_global(state: State) -> None:
    """STACK_GLOBAL: module and name from the stack."""
    start = state.pos
    name = state.pop()
    module = state.pop()
    state.pos += 1
    state.push_global(_computed(module), _computed(name), start)


def _computed(text: Any) -> str:
    """A name, or "?" for one that a call would make: no honest pickler hides what it imports."""
    if type(text) is Call:
        return "?"
    if type(text) is not str:
        raise PickleError("a STACK_GLOBAL whose names are no strings")
    return text


def inst(state: State) -> None:
    """INST: a class by name, called on what was pushed since MARK."""
    start = state.pos
    args = tuple(state.pop_mark())
    state.pos += 1
    module, name = (_ascii(state.line()) for _ in range(2))
    state.push_global(module, name, start)
    state.push_call(state.pop(), args, "inst", start)


def _ascii(raw: bytes) -> str:
    if not raw or not raw.isascii():
        raise PickleError("an INST whose names are empty or not ASCII")
    return raw.decode("ascii")


def obj(state: State) -> None:
    """OBJ: the first thing since MARK, called on the rest."""
    items = state.pop_mark()
    if not items:
        raise underflow()
    state.push_call(_callable(items[0]), tuple(items[1:]), "obj", state.pos)
    state.pos += 1


def reduce(state: State) -> None:
    """REDUCE: a function and a tuple of arguments."""
    args = state.pop()
    func = _callable(state.pop())
    state.push_call(func, _arguments(args), "reduce", state.pos)
    state.pos += 1


def newobj(state: State) -> None:
    """NEWOBJ: cls.__new__(cls, *args)."""
    args = state.pop()
    cls = _callable(state.pop())
    state.push_call(cls, _arguments(args), "newobj", state.pos)
    state.pos += 1


def newobj_ex(state: State) -> None:
    """NEWOBJ_EX: cls.__new__(cls, *args, **kwargs)."""
    kwargs = state.pop()
    args = state.pop()
    cls = _callable(state.pop())
    if type(kwargs) is not dict and type(kwargs) is not Call:
        raise PickleError(f"keyword arguments in a {type(kwargs).__name__}")
    state.push_call(cls, _arguments(args), "newobj_ex", state.pos).kwargs = kwargs
    state.pos += 1


def _callable(func: Any) -> Any:
    if type(func) in (Global, Call):
        return func
    raise PickleError(f"calls a {type(func).__name__}")


def _arguments(args: Any) -> Any:
    if type(args) is tuple or type(args) is Call:
        return args
    raise PickleError(f"call arguments in a {type(args).__name__}")


def build(state: State) -> None:
    """BUILD: obj.__setstate__(state), or its attributes."""
    if len(state.stack) < 2:
        raise underflow()
    value = state.stack.pop()
    target = state.stack[-1]
    if type(target) is Call:
        if target.state is None:
            target.state = []
            state.objects += 6
        if type(target.func) is Global and target.func.live:
            state.odd(state.pos, f"sets attributes of what {target.func.name} hands out", hostile=True)
        state.use("build" if value is not None else "build_none", target)
        state.objects += 1
        target.state.append(value)
    elif type(target) is Global:
        state.plant(target, "sets attributes of", value)
    elif _sets_nothing(value):
        state.use("build", target)
    else:
        raise PickleError(f"sets attributes of a {type(target).__name__}")
    state.pos += 1


def _sets_nothing(state: Any) -> bool:
    return state is None or (type(state) is tuple and len(state) == 2 and state[0] is None and state[1] == {})


def persid(state: State) -> None:
    """PERSID: a persistent id as a line of text."""
    state.pos += 1
    text = state.line()
    if not text.isascii():
        raise PickleError("a persistent id that is not ASCII")
    state.stack.append(state.persistent(text.decode("ascii")))


def binpersid(state: State) -> None:
    """BINPERSID: a persistent id from the stack."""
    state.stack[-1] = state.persistent(state.top())
    state.references += 1
    state.objects += 1
    state.pos += 1
