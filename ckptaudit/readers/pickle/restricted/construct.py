"""torch's constructors of tensors and storages: torch.FloatTensor and its kin, of old files and hostile ones.

Source: torch/csrc/utils/tensor_new.cpp and torch/storage.py of torch 2.13, and trying them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ckptaudit.readers.pickle.restricted.kinds import coo_tensor
from ckptaudit.readers.pickle.restricted.rebuild import Args, takes, tensor_in
from ckptaudit.readers.pickle.restricted.values import (
    MOST_BYTES,
    Budget,
    Memory,
    Named,
    RefusedError,
    Size,
    Tensor,
    Typed,
    is_int,
    kind_of,
    need,
)
from ckptaudit.readers.pickle.restricted.views import count, fresh, set_, sizes

_MOST_DEEP: Final = 200


def make_tensor(dtype: str, *, sparse: bool = False) -> Callable[[Args, Budget], Tensor]:
    """torch.Tensor(*args) and its kin of one dtype: of sizes, a list of numbers, a storage, a tensor."""

    def make(args: Args, budget: Budget) -> Tensor:
        first = args[0] if args else None
        if len(args) == 1 and type(first) is Tensor:
            need(not sparse and first.dtype == dtype, "a tensor made of another sort of tensor")
            made = first.like()
            made.leaf, made.grad = not first.grad, first.grad
            return made
        if len(args) == 1 and type(first) is Typed:
            need(not sparse and first.dtype in (None, dtype), "a tensor made of another sort of storage")
            made = Tensor(dtype, (0,))
            set_(made, (first,))
            return made
        if not sparse and len(args) == 1 and type(first) in (list, tuple):
            return fresh(dtype, _shape_of(first))
        if sparse and len(args) in (2, 3) and type(first) is Tensor:
            need(len(args) == 3, "a sparse tensor without its size")
            return coo_tensor(first, tensor_in(args[1], "values"), args[2])
        shape = sizes(first if len(args) == 1 and type(first) is Size else args, "a shape")
        if sparse:
            need(min(shape, default=0) >= 0, "a negative size")
            made = Tensor(dtype, shape)
            made.layout = "sparse_coo"
            return made
        return fresh(dtype, shape or (0,))

    return make


def _shape_of(value: Any) -> tuple[int, ...]:
    """The shape of nested lists of numbers, refused where they are ragged."""
    shape: list[int] = []
    level = [value]
    while level and all(type(item) in (list, tuple) for item in level):
        lengths = {len(item) for item in level}
        need(len(lengths) == 1 and len(shape) < _MOST_DEEP, "lists of different lengths in place of a tensor")
        shape.append(lengths.pop())
        level = [part for item in level for part in item]
    need(
        all(isinstance(item, int | float) or (type(item) is Tensor and item.numel == 1) for item in level),
        "a list of something else than numbers in place of a tensor",
    )
    return tuple(shape)


def make_untyped(args: Args, budget: Budget) -> Typed:
    """torch.UntypedStorage(*args)."""
    takes("UntypedStorage", args, 0, 1)
    first: Any = args[0] if args else 0
    if type(first) is Typed and first.dtype is None:
        return first
    if is_int(first):
        need(0 <= first < MOST_BYTES, f"a storage of {first} bytes")
        return Typed(Memory(first, grows=True), None)
    need(type(first) in (list, tuple, Size, bytes, str), f"a storage of {kind_of(first)}")
    need(
        all(isinstance(item, int) and 0 <= item < 256 for item in first),
        "a storage of something else than bytes",
    )
    return Typed(Memory(len(first), grows=True), None)


def make_typed(args: Args, budget: Budget) -> Typed:
    """torch.TypedStorage(*args), of float32."""
    takes("TypedStorage", args, 0, 1)
    first: Any = args[0] if args else 0
    if isinstance(first, int):
        need(0 <= first < MOST_BYTES // 4, f"a storage of {first} elements")
        return Typed(Memory(4 * first, grows=True), "float32")
    need(type(first) in (list, tuple, Size), f"a storage of {kind_of(first)}")
    return Typed(Memory(4 * count(_shape_of(first)), grows=True), "float32")


def tensor_type(named: Named) -> Callable[[Args, Budget], Tensor]:
    """What stands behind a name such as torch.sparse.FloatTensor; those of cuda are not there without it."""
    if named.name.startswith("torch.cuda."):
        raise RefusedError(f"{named.name} is used, which only a machine with CUDA has")
    return make_tensor(named.dtype or "float32", sparse=named.name.startswith("torch.sparse."))
