"""Registers the tensors that a file has for a module, on the meta device, and sets its attributes.

Needs torch. Loading assigns tensors as they are, so that what stands here tells their shapes, whether they
are parameters, and whether they take gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ckptaudit.model import DTYPE_BITS, TensorMeta
from ckptaudit.rebuild.plan import Part
from ckptaudit.summary import is_statistic

Rows = Mapping[str, TensorMeta]
_COUNT: Final = "num_batches_tracked"  # torch before 1.0 had none
_USUAL: Final = frozenset({"float64", "float32", "float16", "bfloat16", "complex64", "complex128"})


class Held(NamedTuple):
    """The tensors of one module by name: those of its state dict, and others."""

    rows: Rows
    unsaved: Rows


def misfit(module: Any, rows: Rows) -> str | None:
    """Why a guessed layer cannot have the tensors `rows` of the file, by dotted name; None if it can."""
    own = _tensors(module)
    missing = [name for name in own if name not in rows and name.rpartition(".")[2] != _COUNT]
    if missing:
        return f"there is no {missing[0]}"
    odd = (f"{name} is one more tensor" for name in rows if name not in own)
    return next(odd, None) or next(
        filter(None, (_unlike(own[name], row) for name, row in rows.items())), None
    )


def _tensors(module: Any) -> dict[str, Any]:
    found = dict(module.named_parameters(remove_duplicate=False))
    for path, inner in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for name, buffer in inner._buffers.items():
            if buffer is not None and name not in inner._non_persistent_buffers_set:
                found[prefix + name] = buffer
    return found


def _unlike(own: Any, row: TensorMeta) -> str | None:
    from torch.nn.parameter import is_lazy

    name = row.key.rpartition(".")[2]
    if is_lazy(own) or row.shape is None:
        return None if is_lazy(own) and row.shape is None else f"{name} is lazy, or should be"
    if own.is_floating_point() and (row.dtype not in _USUAL or row.layout != "strided"):
        return f"{name} is {row.dtype}, {row.layout}"
    return None if tuple(own.shape) == row.shape else f"{name} has shape {row.shape}"


def register(module: Any, held: Held, exact: bool) -> None:
    """Make the tensors of `module` those of the file.

    `exact` says that its class is the file's, or ours, so that the file is right about what it has: by plain
    names. Otherwise the names may lead into what the module is made of.
    """
    if exact:
        _forget(module, held)
        for name, row in held.rows.items():
            _set(module, name, row)
    else:
        for path, inner in module.named_modules():
            prefix = f"{path}." if path else ""
            if prefix + _COUNT not in held.rows and inner._buffers.get(_COUNT) is not None:
                inner._buffers[_COUNT] = None
        for name, row in held.rows.items():
            path, _, own = name.rpartition(".")
            _set(module.get_submodule(path), own, row)
    for name, row in held.unsaved.items():
        if row.kind == "buffer":
            free(module, name)
            module._buffers[name] = _empty(row)
            module._non_persistent_buffers_set.add(name)


def _forget(module: Any, held: Held) -> None:
    """Drop what the constructor made, and the file does not have."""
    for kept in (module._parameters, module._buffers):
        for name in kept:
            if name not in held.rows and name not in held.unsaved:
                kept[name] = None


def _set(module: Any, name: str, row: TensorMeta) -> None:
    import torch

    current = module._parameters.get(name)
    current = module._buffers.get(name) if current is None else current
    as_parameter = _is_parameter(module, name, row)
    if current is None or not _is_same(current, row, as_parameter):
        made = _lazy(row, as_parameter) if row.shape is None else _empty(row)
        if as_parameter and row.shape is not None:
            made = torch.nn.Parameter(made, requires_grad=_takes_grad(made, row))
        if isinstance(module, torch.nn.RNNBase) and name in module._parameters and as_parameter:
            setattr(module, name, made)  # which it minds, to keep its list of weights
            return
        module._parameters.pop(name, None) if not as_parameter else module._buffers.pop(name, None)
        free(module, name)
        (module._parameters if as_parameter else module._buffers)[name] = made


def free(module: Any, name: str) -> None:
    """Drop the plain attribute of that name: nn.Module would find it before what is registered."""
    from ckptaudit.rebuild.modules import RESERVED

    if name not in RESERVED:
        module.__dict__.pop(name, None)


def _is_parameter(module: Any, name: str, row: TensorMeta) -> bool:
    """As the file says; where it does not, as the layer has it; else whatever is no statistic and floats."""
    if row.kind in ("parameter", "buffer") and name not in module._buffers:
        return row.kind == "parameter"
    if name in module._parameters or name in module._buffers:
        return name in module._parameters
    return row.kind == "lazy" or (not is_statistic(name) and _floats(row))


def _floats(row: TensorMeta) -> bool:
    return row.dtype.startswith(("float", "bfloat", "complex"))


def _is_same(current: Any, row: TensorMeta, as_parameter: bool) -> bool:
    from torch import nn
    from torch.nn.parameter import is_lazy

    if is_lazy(current) or row.shape is None:
        return is_lazy(current) and row.shape is None and isinstance(current, nn.Parameter) == as_parameter
    return (
        isinstance(current, nn.Parameter) == as_parameter
        and tuple(current.shape) == row.shape
        and str(current.dtype) == f"torch.{row.dtype}"
        and (not as_parameter or current.requires_grad == _takes_grad(current, row))
    )


def _takes_grad(tensor: Any, row: TensorMeta) -> bool:
    # A state dict detaches what it holds: only a parameter's own flag tells something.
    frozen = row.kind in ("parameter", "lazy") and row.requires_grad is False
    return bool((tensor.is_floating_point() or tensor.is_complex()) and not frozen)


def _lazy(row: TensorMeta, as_parameter: bool) -> Any:
    from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

    if as_parameter:
        return UninitializedParameter(requires_grad=row.requires_grad is not False)
    return UninitializedBuffer()


def _empty(row: TensorMeta) -> Any:
    """A tensor of the shape and dtype of `row` that takes no memory."""
    import torch

    dtype = getattr(torch, row.dtype, None) if row.dtype in DTYPE_BITS else None
    known = dtype if isinstance(dtype, torch.dtype) else torch.uint8
    return torch.empty(row.shape or (), dtype=known, device="meta")


def set_settings(module: Any, part: Part) -> None:
    """Set the attributes that the plan has, but those that would stand in for methods, and the flag."""
    import torch

    from ckptaudit.rebuild.modules import RESERVED

    for name, value in part.settings.items():
        if name in RESERVED or name in module._parameters or name in module._buffers:
            continue
        is_set = name in vars(module)
        if (is_set and _equal(vars(module)[name], value)) or (not is_set and hasattr(type(module), name)):
            continue
        module.__dict__[name] = value
    if part.training is not None:
        module.training = part.training
    if isinstance(module, torch.nn.ParameterList) and "_size" not in part.settings:
        module._size = len(module._parameters)
    if isinstance(module, torch.nn.ParameterDict):
        module._keys = dict.fromkeys(module._parameters)


def _equal(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other
