"""What a model is before it runs, to be put back: statistics, caches, counters, flags of a first call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ckptaudit.verify.facts import Kind
from ckptaudit.verify.held import REGISTRIES
from ckptaudit.verify.lib import library

_DEEPEST = 6  # containers in containers
_MOST = 10_000  # elements of one that are looked into
_CONTAINERS = (list, dict, set, deque, bytearray)

Undo = Callable[[], None]


@contextmanager
def kept(modules: Mapping[str, Any], tensors: Mapping[str, tuple[Kind, Any]]) -> Iterator[Undo]:
    """Gives what puts the model back to what it is now, and does so in the end too."""
    restore = snapshot(modules, tensors)
    try:
        yield restore
    finally:
        restore()


def snapshot(modules: Mapping[str, Any], tensors: Mapping[str, tuple[Kind, Any]]) -> Undo:
    """What puts back tensors, attributes, all that containers and plain objects there hold, and attributes
    of the model's classes: a model may keep a flag in any of them."""
    script = library().jit.ScriptModule
    owners = [each for each in modules.values() if not isinstance(each, script)]
    undo: list[Undo] = [_module(each) for each in owners]
    seen: set[int] = {id(each) for each in owners}
    for each in owners:
        for name, value in vars(each).items():
            if name not in REGISTRIES:
                undo += _inside(value, seen, _DEEPEST)
    for kind in {kind for each in owners for kind in type(each).__mro__ if not is_torch(kind)}:
        undo += _class(kind, seen)
    undo.append(_values(tensors))

    def restore() -> None:
        for each in undo:
            each()

    return restore


def is_torch(kind: type) -> bool:
    """Whether it is a class of torch itself, or of Python."""
    return kind.__module__.partition(".")[0] in ("torch", "builtins", "typing", "abc")


def _module(module: Any) -> Undo:
    own, kind = dict(vars(module)), type(module)
    registries = [dict(own[name]) for name in REGISTRIES]

    def restore() -> None:
        module.__class__ = kind  # a lazy layer becomes its plain one when it first runs
        vars(module).clear()
        vars(module).update(own)
        for name, entries in zip(REGISTRIES, registries, strict=True):
            own[name].clear()
            own[name].update(entries)

    return restore


def _class(kind: type, seen: set[int]) -> Iterator[Undo]:
    own = plain_attributes(kind)

    def restore() -> None:
        now = plain_attributes(kind)
        for name in now.keys() - own.keys():
            delattr(kind, name)
        for name, value in own.items():
            if name not in now or now[name] is not value:
                setattr(kind, name, value)

    yield restore
    for value in own.values():
        yield from _inside(value, seen, _DEEPEST)


def plain_attributes(kind: type) -> dict[str, Any]:
    """Attributes that a class holds as values: no functions, no descriptors, nothing of Python's own."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") and name != "_abc_impl" and not hasattr(type(value), "__get__")
    }


def _inside(value: Any, seen: set[int], depth: int) -> Iterator[Undo]:
    """What a container or a plain object holds, and what that holds."""
    if not depth or id(value) in seen or isinstance(value, type):
        return
    parts: list[Any]
    if isinstance(value, _CONTAINERS):
        seen.add(id(value))
        yield _container(value)
        parts = list(value.values() if isinstance(value, dict) else value)
    elif isinstance(value, tuple):
        parts = list(value)
    elif _is_object(value):
        seen.add(id(value))
        own = dict(vars(value))
        yield _attributes(value, own)
        parts = list(own.values())
    else:
        return
    if len(parts) <= _MOST:
        for part in parts:
            yield from _inside(part, seen, depth - 1)


def _container(value: Any) -> Undo:
    held = value.copy()

    def restore() -> None:
        value.clear()
        if isinstance(value, dict | set):
            value.update(held)
        else:
            value.extend(held)

    return restore


def _is_object(value: Any) -> bool:
    """An object of somebody's class that holds plain attributes."""
    torch = library()
    known = isinstance(value, torch.Tensor | torch.nn.Module) or is_torch(type(value))
    return not known and isinstance(getattr(value, "__dict__", None), dict)


def _attributes(value: Any, own: dict[str, Any]) -> Undo:
    def restore() -> None:
        with suppress(AttributeError, TypeError):
            vars(value).clear()
            vars(value).update(own)

    return restore


def _values(tensors: Mapping[str, tuple[Kind, Any]]) -> Undo:
    torch = library()
    plain = {id(each): each for _, each in tensors.values() if _is_plain(each)}
    values = {place: each.detach().clone() for place, each in plain.items()}

    def restore() -> None:
        with torch.no_grad():
            for place, each in plain.items():
                if each.shape == values[place].shape and not torch.equal(each, values[place]):
                    each.copy_(values[place])

    return restore


def _is_plain(tensor: Any) -> bool:
    torch = library()
    lazy = torch.nn.parameter.is_lazy(tensor) or tensor.is_meta
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return not lazy and plain and tensor.layout == torch.strided
