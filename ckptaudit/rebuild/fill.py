"""Gives a module that `build` made its tensors: strictly, and without copying any.

Needs torch. State dicts know neither ties nor plain attributes; the plan does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ckptaudit.rebuild.plan import Plan

if TYPE_CHECKING:
    import torch


def fill(
    module: torch.nn.Module,
    plan: Plan,
    tensors: Mapping[str, torch.Tensor],
    unsaved: Mapping[str, torch.Tensor],
    extra: Mapping[str, object],
) -> None:
    """Load `tensors` and `extra`, by key, into what `build` made of `plan`, and `unsaved` beside them.

    Tied parameters become one object. Lazy parameters stay as they are. Raises RuntimeError, as
    `load_state_dict` does, where keys are missing or shapes differ.
    """
    lazy = _take_lazy(module, tensors)
    try:
        _load(module, _state(module, plan, tensors, extra))
    finally:
        for kept, name, parameter in lazy:
            kept[name] = parameter
    for group in plan.ties:
        _tie(module, group)
    for key, tensor in unsaved.items():
        _attach(module, key, tensor)
    _compute(module)


def _take_lazy(module: Any, tensors: Mapping[str, torch.Tensor]) -> list[tuple[dict[str, Any], str, Any]]:
    """Take out what is to stay lazy: `load_state_dict` would ask for the shape of it (torch 2.13)."""
    from torch.nn.parameter import is_lazy

    found = []
    for path, inner in module.named_modules():
        prefix = f"{path}." if path else ""
        for kept in (inner._parameters, inner._buffers):
            for name, value in kept.items():
                if value is not None and is_lazy(value) and is_lazy(tensors.get(prefix + name, value)):
                    found.append((kept, name, value))
                    kept[name] = None
    return found


def _state(
    module: Any, plan: Plan, tensors: Mapping[str, torch.Tensor], extra: Mapping[str, object]
) -> dict[str, Any]:
    from torch import nn

    state: dict[str, Any] = {}
    for key, here in module.state_dict(keep_vars=True).items():
        if key in tensors:
            given = tensors[key]
            is_buffer = isinstance(given, nn.Parameter) and not isinstance(here, nn.Parameter)
            state[key] = given.detach() if is_buffer else given
    state.update((key, extra.get(key, kept)) for key, kept in plan.extra.items())
    return state


def _load(module: Any, state: dict[str, Any]) -> None:
    """What `module.load_state_dict(state, strict=True, assign=True)` does.

    That looks through all keys once more for each child: minutes for a list of 10,000 layers.
    """
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    todo: list[tuple[Any, str, dict[str, Any]]] = [(module, "", state)]
    while todo:
        inner, prefix, below = todo.pop()
        # Modules then see their own version, and none adds a tensor that the file does not have.
        metadata = {"version": inner._version, "assign_to_params_buffers": True}
        inner._load_from_state_dict(below, prefix, metadata, True, missing, unexpected, errors)
        shares: dict[str, dict[str, Any]] = {name: {} for name in inner._modules}
        for key, value in below.items():
            for name in _heads(key[len(prefix) :]):
                if name in shares:
                    shares[name][key] = value
        todo += [
            (child, f"{prefix}{name}.", shares[name])
            for name, child in inner._modules.items()
            if child is not None
        ]
    errors += [f"missing {key!r}" for key in missing] + [f"unexpected {key!r}" for key in unexpected]
    if errors:
        raise RuntimeError(f"the state dict does not fit {type(module).__name__}: {'; '.join(errors[:20])}")


def _heads(name: str) -> Iterator[str]:
    """What stands before each dot of a name."""
    end = name.find(".")
    while end >= 0:
        yield name[:end]
        end = name.find(".", end + 1)


def _tie(module: Any, group: tuple[str, ...]) -> None:
    """Make parameters that share their memory one object."""
    import torch

    places = [place for key in group if (place := locate(module, key)) is not None]
    parameters = [(owner, name) for owner, name in places if owner._parameters.get(name) is not None]
    for owner, name in parameters[1:]:
        first, own = parameters[0][0]._parameters[parameters[0][1]], owner._parameters[name]
        # Two parameters on one memory, of which one is frozen, are two: one object would train or not.
        alike = own.shape == first.shape and own.dtype == first.dtype and own.is_conj() == first.is_conj()
        if own is not first and alike and own.requires_grad == first.requires_grad:
            if isinstance(owner, torch.nn.RNNBase):
                setattr(owner, name, first)
            else:
                owner._parameters[name] = first


def _attach(module: Any, key: str, tensor: torch.Tensor) -> None:
    """Set a plain attribute, or a buffer that is not persistent, where a module is to have it."""
    import torch

    from ckptaudit.rebuild.modules import RESERVED

    path, _, name = key.rpartition(".")
    owner = _inner(module, path)
    if owner is None:
        return  # in a plain list or dict, of which nothing more is known
    if name in owner._buffers:
        owner._buffers[name] = tensor
    elif (
        name
        and name not in owner._parameters
        and name not in owner._modules
        and not hasattr(torch.nn.Module, name)
        and name not in RESERVED
    ):
        owner.__dict__[name] = tensor


def locate(module: Any, key: str) -> tuple[Any, str] | None:
    """The module that has the tensor `key`, and its name there; names may hold dots."""
    todo = [(module, key)]
    while todo:
        owner, rest = todo.pop()
        if owner._parameters.get(rest) is not None or owner._buffers.get(rest) is not None:
            return owner, rest
        todo.extend(_into(owner, rest))
    return None


def _inner(module: Any, path: str) -> Any:
    todo = [(module, path)] if path else []
    while todo:
        owner, rest = todo.pop()
        if owner._modules.get(rest) is not None:
            return owner._modules[rest]
        todo.extend(_into(owner, rest))
    return None if path else module


def _into(owner: Any, rest: str) -> list[tuple[Any, str]]:
    children = ((owner._modules.get(head), rest[len(head) + 1 :]) for head in _heads(rest))
    return [(child, name) for child, name in children if child is not None]


def _compute(module: Any) -> None:
    """Compute what torch.nn.utils keeps beside the parts of a parameter, where the file has it not."""
    for inner in module.modules():
        for hook in inner._forward_pre_hooks.values():
            kind = type(hook).__module__.removeprefix("torch.nn.utils.")
            name = getattr(hook, "_tensor_name" if kind == "prune" else "name", "")
            known = kind in ("prune", "spectral_norm", "weight_norm")
            if not (known and getattr(vars(inner).get(name), "is_meta", False) and _is_dense(inner)):
                continue
            # Shapes that do not fit each other are the file's: torch computes it anew when the layer runs.
            with suppress(RuntimeError, ValueError):
                setattr(inner, name, _computed(kind, hook, inner))


def _computed(kind: str, hook: Any, inner: Any) -> Any:
    if kind == "prune":
        return hook.apply_mask(inner)
    if kind == "spectral_norm":
        return hook.compute_weight(inner, do_power_iteration=False)
    return hook.compute_weight(inner)


def _is_dense(inner: Any) -> bool:
    """Whether no tensor of the module has more elements than memory: a file of 1 KB can tell of gigabytes."""
    kept = [each for each in (*inner._parameters.values(), *inner._buffers.values()) if each is not None]
    return all(
        not each.is_meta and each.untyped_storage().nbytes() >= each.numel() * each.element_size()
        for each in kept
    )
