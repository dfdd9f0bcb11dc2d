"""Tensors as source: `nn.Parameter(torch.empty(256, 20))`, and what is known of their dtypes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptaudit.model import DTYPE_BITS, TensorMeta
from ckptaudit.rebuild.emit.code import Expression, Group, Item, Number, call, inline
from ckptaudit.summary import is_statistic

# What a module's `to` can make of the float32 that constructors make.
CASTABLE: Final = frozenset({"float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"})
_QUANTIZED: Final = frozenset({"quint8", "qint8", "qint32"})
_NOT_IN_TORCH: Final = frozenset({"float6_e2m3", "float6_e3m2"})
EXPANDED: Final = "expanded"  # the layout of what shows far more elements than are kept of it
_SPARSE: Final = frozenset({"sparse_coo"})


def is_floating(dtype: str) -> bool:
    """Whether tensors of this dtype can be trained, and are cast when a module is."""
    return dtype.startswith(("float", "bfloat", "complex")) and dtype not in _NOT_IN_TORCH


def is_parameter(name: str, tensor: TensorMeta) -> bool:
    """Whether it is one; where the file does not say, what can be trained is, but for statistics."""
    if tensor.kind in ("parameter", "lazy"):
        return True
    return tensor.kind == "tensor" and is_floating(tensor.dtype) and not is_statistic(name)


def is_frozen(tensor: TensorMeta) -> bool:
    """Whether the file says that a parameter takes no gradient; tensors of a state dict never do."""
    return tensor.kind == "parameter" and tensor.requires_grad is False


def one_dtype(tensors: Iterable[TensorMeta]) -> str | None:
    """The dtype that all floating tensors have, where it is not float32 and can be cast to."""
    found = {tensor.dtype for tensor in tensors if is_floating(tensor.dtype)}
    dtype = found.pop() if len(found) == 1 else ""
    return dtype if dtype in CASTABLE else None


def dtype_name(dtype: str) -> str:
    """torch's word for it; uint8 for what torch has no word for."""
    known = dtype in DTYPE_BITS and dtype not in _NOT_IN_TORCH
    return f"torch.{dtype if known else 'uint8'}"


def empty(tensor: TensorMeta, hint: str, cast: bool = False) -> Group:
    """`torch.empty(shape, dtype=...)`; `cast` says that what it is in is cast to its dtype anyway."""
    sizes: tuple[Expression, ...] = tuple([Number(size, hint) for size in tensor.shape or ()])
    if tensor.dtype in _QUANTIZED:
        shape = Group("[", tuple(map(Item, sizes)), "]")
        more = {"scale": "1.0", "zero_point": "0", "dtype": dtype_name(tensor.dtype)}
        return call("torch._empty_affine_quantized", shape, **more)
    named: dict[str, Expression] = {}
    if tensor.dtype != "float32" and not (cast and is_floating(tensor.dtype)):
        named["dtype"] = dtype_name(tensor.dtype)
    if tensor.layout in _SPARSE:
        named["layout"] = f"torch.{tensor.layout}"
    if tensor.layout == EXPANDED:
        one = call("torch.empty", "()", **named)
        return Group(f"{inline(one)}.expand(", tuple(map(Item, sizes)))
    return call("torch.empty", *(sizes or ("()",)), **named)


def parameter(name: str, tensor: TensorMeta, cast: bool, frozen: bool) -> Expression:
    """The expression of a parameter; `frozen` says that what it is in is frozen as a whole."""
    if tensor.shape is None:
        return call("nn.UninitializedParameter")
    named: dict[str, Expression] = {}
    if not is_floating(tensor.dtype) or (is_frozen(tensor) and not frozen):
        named["requires_grad"] = "False"
    return call("nn.Parameter", empty(tensor, "size", cast), **named)
