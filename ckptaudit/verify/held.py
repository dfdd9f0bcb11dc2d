"""The modules and tensors that a model holds, registered or not, under the names that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ckptaudit.verify.facts import Kind, Weight
from ckptaudit.verify.leaves import NotComparableError, contents, digest, settled
from ckptaudit.verify.lib import library

_DEEPEST = 6  # plain containers in plain containers
_MOST = 100_000
REGISTRIES = ("_parameters", "_buffers", "_modules")


def modules_of(model: Any) -> dict[str, Any]:
    """Every module once, by its first path; those in plain lists and dicts too, after those registered."""
    found = dict(model.named_modules())
    seen = {id(module) for module in found.values()}
    waiting = list(found.items())
    while waiting:
        path, module = waiting.pop(0)
        for name, thing in _attributes(path, module):
            if isinstance(thing, library().nn.Module) and id(thing) not in seen:
                inner = {f"{name}.{key}" if key else name: each for key, each in thing.named_modules()}
                fresh = {key: each for key, each in inner.items() if id(each) not in seen}
                seen |= {id(each) for each in fresh.values()}
                found |= fresh
                waiting += fresh.items()
    return found


def tensors_of(model: Any) -> dict[str, tuple[Kind, Any]]:
    """Every tensor under every name of it: those that state dicts hold, then those that none does."""
    found: dict[str, tuple[Kind, Any]] = {}
    registered = dict(model.named_modules(remove_duplicate=False))
    others = {path: module for path, module in modules_of(model).items() if path not in registered}
    for path, module in registered.items():
        found |= {_join(path, name): each for name, each in _registered(module)}
    for path, module in others.items():
        found |= {_join(path, name): ("unsaved", tensor) for name, (_, tensor) in _registered(module)}
    own = {id(tensor) for _, tensor in found.values()}
    for path, module in modules_of(model).items():
        for name, thing in _attributes(path, module):
            if isinstance(thing, library().Tensor) and id(thing) not in own:
                found[name] = ("unsaved", thing)
    return found


def _registered(module: Any) -> Iterator[tuple[str, tuple[Kind, Any]]]:
    for name, tensor in module._parameters.items():
        if tensor is not None:
            yield name, ("parameter", tensor)
    for name, tensor in module._buffers.items():
        if tensor is not None:
            yield name, ("unsaved" if name in module._non_persistent_buffers_set else "buffer", tensor)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _attributes(path: str, module: Any) -> Iterator[tuple[str, Any]]:
    """Tensors and modules in attributes that nn.Module does not register, and in containers there."""
    for name, value in vars(module).items():
        # What recurrent layers repeat of their own parameters.
        if name not in REGISTRIES and not name.startswith("_flat_weight"):
            yield from _inside(_join(path, name), value, _DEEPEST)


def _inside(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    torch = library()
    if isinstance(value, torch.Tensor | torch.nn.Module):
        yield name, value
    elif depth and isinstance(value, list | tuple | dict) and len(value) <= _MOST:
        for key, part in contents(value) or ():
            yield from _inside(f"{name}.{key}", part, depth - 1)


def memory(tensor: Any) -> tuple[object, ...] | None:
    """Equal for tensors that view the same memory alike; None where there is none to compare."""
    torch = library()
    if torch.nn.parameter.is_lazy(tensor) or tensor.layout != torch.strided or not tensor.numel():
        return None
    try:
        storage = tensor.untyped_storage()._cdata
    except Exception:  # a subclass that has no storage
        return None
    return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def ties_of(tensors: Mapping[str, tuple[Kind, Any]]) -> tuple[tuple[str, ...], ...]:
    """Groups of names that share memory."""
    groups: dict[object, list[str]] = {}
    for name, (_, tensor) in tensors.items():
        if (place := memory(tensor)) is not None:
            groups.setdefault(place, []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def weigh(
    tensors: Mapping[str, tuple[Kind, Any]], source: Callable[[str], str] = lambda name: ""
) -> dict[str, Weight]:
    """The facts of every tensor; memory that several share is read once."""
    done: dict[object, Weight] = {}
    found = {}
    for name, (kind, tensor) in tensors.items():
        place = memory(tensor)
        facts = (done.get(place) if place else None) or _weight(tensor)
        if place:
            done[place] = facts
        found[name] = facts._replace(kind=kind, source=source(name))
    return found


def _weight(tensor: Any) -> Weight:
    torch = library()
    word = str(tensor.dtype).removeprefix("torch.")
    if torch.nn.parameter.is_lazy(tensor):
        return Weight("parameter", word, (), "lazy")
    if tensor.is_meta:
        return Weight("parameter", word, tuple(tensor.shape), "meta")
    try:
        plain, word = settled(tensor, copy=False)
    except (NotComparableError, RuntimeError, NotImplementedError) as error:
        return Weight("parameter", word, (), f"unknown: {error}")
    nan, negative = _odd_values(plain)
    return Weight("parameter", word, tuple(tensor.shape), digest(plain), nan, negative)


def _odd_values(plain: Any) -> tuple[int, int]:
    """How many NaN there are, and how many -0.0."""
    torch = library()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    if not plain.is_floating_point() or plain.element_size() < 2:  # float8 can do nothing
        return 0, 0
    word = {2: torch.int16, 4: torch.int32, 8: torch.int64}[plain.element_size()]
    only_sign = plain.view(word) == torch.iinfo(word).min
    return int((plain != plain).count_nonzero()), int(only_sign.count_nonzero())
