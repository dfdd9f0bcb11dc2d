"""What the restricted unpickler holds on its stack, where that is no plain container, number or text.

Symbols compare and hash by identity, as the objects do that they stand for; `Size` is a tuple as in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ckptaudit.limits import Limits


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


NamedKind = Literal["class", "tensor type", "function", "storage type", "value"]

FLOATING = words(
    "float64 float32 float16 bfloat16 complex128 complex64 complex32 float8_e4m3fn"
    " float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2"
)
COMPLEX = frozenset({"complex128", "complex64", "complex32"})
QUANTIZED = frozenset({"qint8", "quint8", "qint32", "quint4x2", "quint2x4"})
INT64 = range(-(2**63), 2**63)
MOST_BYTES = 2**40  # more than any machine hands out at once


class RefusedError(Exception):
    """torch would raise here, whatever names it is allowed."""


class UnsureError(Exception):
    """A limit of ours was reached before torch's answer was known."""


class Budget:
    """What may still be spent on one file, and the names that must be allowed for it, in order."""

    def __init__(self, limits: Limits) -> None:
        self.opcodes = limits.opcodes
        self.objects = limits.objects
        self.key_nodes = limits.key_nodes
        self.weak_keys = limits.weak_keys
        self.depth = 0  # of functions that call functions
        self.to_allow: dict[str, None] = {}

    def spend(self, objects: int) -> None:
        """Count objects that a call makes at once."""
        self.objects -= objects
        if self.objects < 0:
            raise UnsureError


class Named:
    """A name that torch allows by itself, `dtype` for those of torch that are or stand for one."""

    __slots__ = ("dtype", "kind", "name")

    def __init__(self, name: str, kind: NamedKind, dtype: str | None = None) -> None:
        self.name = name
        self.kind = kind
        self.dtype = dtype


class Foreign:
    """A name that torch would have to be told to allow."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Made:
    """What a call of something foreign gave; `cls` is the name of its type, "" where that is not known."""

    __slots__ = ("cls",)

    def __init__(self, cls: str) -> None:
        self.cls = cls


class Memory:
    """The bytes behind tensors. What torch allocates itself may grow, what it reads from a record may not.

    `read` gives the bytes themselves, where the file has them at that point.
    """

    __slots__ = ("grows", "nbytes", "read")

    def __init__(self, nbytes: int, *, grows: bool = False, read: Callable[[], bytes] | None = None) -> None:
        self.nbytes = nbytes
        self.grows = grows
        self.read = read


class Typed:
    """A torch.TypedStorage; a torch.UntypedStorage where `dtype` is None."""

    __slots__ = ("dtype", "memory")

    def __init__(self, memory: Memory, dtype: str | None) -> None:
        self.memory = memory
        self.dtype = dtype


class Tensor:
    """A tensor; `cls` names its class, "" for one of torch's own kinds that are never built further."""

    __slots__ = ("cls", "device", "dtype", "grad", "layout", "leaf", "memory", "offset", "shape", "stride")

    def __init__(self, dtype: str, shape: tuple[int, ...], memory: Memory | None = None) -> None:
        self.dtype = dtype
        self.shape = shape
        self.memory = memory
        self.stride: tuple[int, ...] = ()
        self.offset = 0
        self.cls = "torch.Tensor"
        self.device = "cpu"
        self.layout = "strided"
        self.grad = False
        self.leaf = True

    def like(self) -> Tensor:
        """Another tensor on the same memory."""
        other = Tensor(self.dtype, self.shape, self.memory)
        other.stride, other.offset = self.stride, self.offset
        other.device, other.layout = self.device, self.layout
        return other

    @property
    def numel(self) -> int:
        """Its elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count


class Device:
    """A torch.device."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Layout:
    """A torch.layout."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Size(tuple[int, ...]):
    """A torch.Size."""

    __slots__ = ()


def need(condition: object, reason: str) -> None:
    """Refuse where torch's own check fails."""
    if not condition:
        raise RefusedError(reason)


def is_int(value: Any) -> bool:
    """Whether torch's parser of arguments takes `value` for an int of 64 bits: a bool is none."""
    return type(value) is int and value in INT64


def kind_of(value: Any) -> str:
    """What a value is, in a word, for sentences."""
    if type(value) is Foreign or type(value) is Named:
        return value.name
    if type(value) is Made:
        return value.cls or "the result of a call"
    if type(value) is Tensor:
        return "a tensor"
    return f"a {type(value).__name__}"
