"""What an nn.Module in hand expects of a checkpoint, as JSON values: keys, shapes, dtypes, ties, losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DEEPEST = 6  # plain containers in plain containers
_MOST = 100_000


def expectations(model: Any) -> dict[str, Any]:
    """What `model`, an nn.Module, expects: the facts that `module.blueprint_of` takes."""
    import torch

    state = model.state_dict(keep_vars=True)
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    groups: dict[object, list[str]] = {}
    for key, value in tensors.items():
        groups.setdefault(_memory(torch, value), []).append(key)
    return {
        "name": type(model).__name__,
        "tensors": [[key, *_facts(torch, value)] for key, value in tensors.items()],
        "ties": [group for group in groups.values() if len(group) > 1],
        "other": [key for key in state if key not in tensors],
        "lost": [[key, *_facts(torch, value), why] for key, value, why in _lost(torch, model, tensors)],
    }


def _facts(torch: Any, tensor: Any) -> list[Any]:
    lazy = torch.nn.parameter.is_lazy(tensor)
    return [None if lazy else list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]


def _memory(torch: Any, tensor: Any) -> object:
    """Equal for tensors that view the same memory alike. The meta device has no addresses to compare."""
    if torch.nn.parameter.is_lazy(tensor) or tensor.layout != torch.strided or tensor.numel() == 0:
        return id(tensor)
    try:
        storage = tensor.untyped_storage()._cdata
    except Exception:  # a subclass that has no storage
        return id(tensor)
    return (storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def _lost(torch: Any, model: Any, held: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Tensors that the model owns and its state dict does not hold: name, tensor, and why it does not."""
    seen = {_memory(torch, value) for value in held.values()}
    for name, tensor, why in _not_saved(torch, model):
        memory = _memory(torch, tensor)
        if memory not in seen:
            seen.add(memory)
            yield name, tensor, why


def _not_saved(torch: Any, model: Any) -> Iterator[tuple[str, Any, str]]:
    """Tensors in attributes that nn.Module does not register, under the dotted names that lead to them."""
    registered = {id(module) for module in model.modules()}
    own = set(vars(torch.nn.Module()))
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name in sorted(module._non_persistent_buffers_set):
            if module._buffers.get(name) is not None:
                yield prefix + name, module._buffers[name], "non-persistent buffer"
        for name, value in vars(module).items():
            if name in own or name.startswith("_flat_weight"):  # what recurrent layers repeat of their own
                continue
            if isinstance(value, torch.Tensor):
                yield prefix + name, value, "plain attribute"
            else:
                for key, tensor in _inside(torch, prefix + name, value, registered, _DEEPEST):
                    yield key, tensor, "in a plain container"


def _inside(torch: Any, name: str, value: Any, registered: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """The tensors in a plain list, tuple or dict, and in the modules that only it holds."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, torch.nn.Module):
        if id(value) not in registered:
            held = value.state_dict(keep_vars=True).items()
            yield from ((f"{name}.{key}", part) for key, part in held if isinstance(part, torch.Tensor))
    elif depth and isinstance(value, list | tuple | dict) and len(value) <= _MOST:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            yield from _inside(torch, f"{name}.{key}", part, registered, depth - 1)
