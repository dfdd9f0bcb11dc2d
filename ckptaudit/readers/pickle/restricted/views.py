"""Where a tensor lies in its memory: the checks of `Tensor.set_`, and of new memory.

Source: `set_storage_cpu_`, `checkSetStorage` and `maybe_resize_storage_cpu` of torch's aten/src/ATen/native
(Resize.h, TensorShape.cpp), whose sizes are multiplied as unsigned numbers of 64 bits.
"""

from __future__ import annotations

from typing import Any

from ckptaudit.model import DTYPE_BITS
from ckptaudit.readers.pickle.memory import PACKED
from ckptaudit.readers.pickle.restricted.values import (
    MOST_BYTES,
    Memory,
    RefusedError,
    Size,
    Tensor,
    Typed,
    UnsureError,
    is_int,
    kind_of,
    need,
)

_UNSIGNED = 2**64
_MOST_NUMBERS = 100_000


def width(dtype: str) -> int:
    """Bytes of one element."""
    return DTYPE_BITS[dtype] // 8


def sizes(value: Any, what: str) -> tuple[int, ...]:
    """A shape or stride as torch's parser of arguments takes it: a tuple or list of whole numbers."""
    need(type(value) in (tuple, list, Size), f"{kind_of(value)} as {what}")
    found = tuple(_whole(item, what) for item in value)
    need(min(found, default=0) > -(2**62), f"numbers below any {what}")
    return found


def _whole(value: Any, what: str) -> int:
    if type(value) is Tensor:
        need(value.numel == 1 and "int" in value.dtype, f"a tensor in {what}")
        return 1
    need(is_int(value), f"{kind_of(value)} in {what}")
    return value  # type: ignore[no-any-return]


def offset_of(value: Any) -> int:
    """An offset as torch's parser of arguments takes it."""
    if type(value) is Tensor and value.numel == 1 and "int" in value.dtype:
        return 0
    need(is_int(value), f"{kind_of(value)} as an offset")
    return value  # type: ignore[no-any-return]


def count(shape: tuple[int, ...]) -> int:
    """The elements of a shape, refused where they cannot be counted in 63 bits."""
    total = 1
    for size in shape:
        total *= size % _UNSIGNED
        need(total < _UNSIGNED, "more elements than can be counted")
    need(total < 2**63, "more elements than can be counted")
    return total


def reached(shape: tuple[int, ...], stride: tuple[int, ...], offset: int, itemsize: int) -> int:
    """The bytes that a view needs of its memory, refused where they cannot be counted in 64 bits."""
    if 0 in shape:
        return 0
    total = 1
    for size, step in zip(shape, stride, strict=True):
        total += (step % _UNSIGNED) * ((size - 1) % _UNSIGNED)
        need(total < _UNSIGNED, "a view of more bytes than can be counted")
    total = (total + offset % _UNSIGNED) * itemsize
    need(total < _UNSIGNED, "a view of more bytes than can be counted")
    return total


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a new tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def place(
    tensor: Tensor, memory: Memory, offset: Any, shape: Any, stride: Any = None, *, packed: bool = False
) -> None:
    """`tensor.set_(memory, offset, shape, stride)`; memory of torch's own making grows where it is short."""
    tensor.offset = offset_of(offset)
    tensor.shape = sizes(shape, "a shape")
    given = sizes(stride, "a stride") if stride is not None else ()
    need(tensor.offset >= 0, "a negative offset")
    need(not given or len(given) == len(tensor.shape), "a shape and a stride of different lengths")
    tensor.stride = given or contiguous(tensor.shape)
    if count(tensor.shape):
        nbytes = reached(tensor.shape, tensor.stride, tensor.offset, width(tensor.dtype))
        if packed:
            nbytes = -(-nbytes // PACKED.get(tensor.dtype, 1))
        if nbytes > memory.nbytes:
            need(
                memory.grows and not packed,
                f"a tensor that views {nbytes:,} bytes of a storage of {memory.nbytes:,}",
            )
            need(nbytes < MOST_BYTES, "more bytes than any machine has")
            memory.nbytes = nbytes
    tensor.memory = memory


def set_(tensor: Tensor, args: tuple[Any, ...]) -> None:
    """`tensor.set_(*args)`."""
    need(len(args) in (0, 1, 3, 4), f"set_ with {len(args)} arguments")
    need(tensor.layout == "strided", f"set_ of a tensor of layout {tensor.layout}")
    need(not (tensor.grad and tensor.leaf), "a leaf that requires grad is changed in place")
    if not args:
        tensor.memory, tensor.shape, tensor.stride, tensor.offset = Memory(0, grows=True), (0,), (1,), 0
        return
    source = args[0]
    if type(source) is Tensor:
        need(source.dtype == tensor.dtype and source.memory is not None, "a tensor of another dtype is set")
        if len(args) == 1:
            tensor.memory, tensor.shape = source.memory, source.shape
            tensor.stride, tensor.offset = source.stride, source.offset
            return
        place(tensor, source.memory or Memory(0), *args[1:])
        return
    need(type(source) is Typed, f"{kind_of(source)} as a storage")
    need(source.dtype in (None, tensor.dtype), "a storage of another dtype is set")
    if len(args) == 1:
        elements = source.memory.nbytes // width(tensor.dtype)
        place(tensor, source.memory, 0, (elements,), (1,))
    else:
        place(tensor, source.memory, *args[1:])


def numbers(tensor: Tensor) -> list[int]:
    """The elements of an int64 tensor, in order."""
    memory = tensor.memory
    if memory is None or memory.read is None or tensor.layout != "strided":
        raise RefusedError("sizes that are not read from the file yet")
    if count(tensor.shape) > _MOST_NUMBERS:
        raise UnsureError
    raw, places = memory.read(), [tensor.offset]
    for size, step in zip(tensor.shape, tensor.stride, strict=True):
        places = [place + index * step for place in places for index in range(size)]
    return [int.from_bytes(raw[8 * at : 8 * at + 8], "little", signed=True) for at in places]


def fresh(dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A new tensor on new memory."""
    need(min(shape, default=0) >= 0, "a negative size")
    nbytes = count(shape) * width(dtype)
    need(nbytes < MOST_BYTES, "more bytes than any machine has")
    tensor = Tensor(dtype, shape, Memory(nbytes, grows=True))
    tensor.stride = contiguous(shape)
    return tensor
