"""What goes into a model and comes out of it, as named leaves, each told by its bits.

Leaves are compared by dtype, shape and the digest of their bytes, never by `==`: -0.0 is not 0.0, a NaN is
what its payload is, and no class of the model's has a say in it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from ckptaudit.verify.lib import library

PLAIN = "python"  # the dtype of a leaf that is no tensor
_DEEPEST = 20


class NotComparableError(Exception):
    """A leaf is of a type whose value cannot be compared by its bits."""


class Leaf(NamedTuple):
    """One tensor or plain value. `digest` is the SHA-256 of its bytes, row by row; `value` is it itself,
    a tensor on the CPU, where it is at hand."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str
    value: Any = None

    @property
    def facts(self) -> tuple[str, str, tuple[int, ...], str]:
        """What makes two leaves equal."""
        return self.name, self.dtype, self.shape, self.digest

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, and no plain value."""
        return self.dtype != PLAIN


def leaves(thing: Any) -> tuple[Leaf, ...]:
    """Every leaf of `thing`, its tensors copied to the CPU: `output` alone, or `0`, `logits`, `hidden.1`.

    Raises NotComparableError where one can be compared with nothing.
    """
    found: dict[str, Leaf] = {}
    for name, part in _parts("", thing, _DEEPEST):
        named = name or "output"
        while named in found:  # {"a": {"b": x}, "a.b": y}
            named += "'"
        found[named] = leaf(named, part)
    return tuple(found.values())


def leaf(name: str, part: Any) -> Leaf:
    """The leaf of a tensor or of a plain value."""
    if not isinstance(part, library().Tensor):
        text = f"{type(part).__name__} {plain_text(part)}"
        return Leaf(name, PLAIN, (), sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), part)
    plain, dtype = settled(part)
    return Leaf(name, dtype, tuple(part.shape), digest(plain), plain)


_PLAIN = (bool, int, float, complex, str, bytes)


def plain_text(value: Any) -> str:
    """A plain value as Python itself would write it: a subclass may write what it likes."""
    base = next((kind for kind in _PLAIN if isinstance(value, kind)), object)
    return base.__repr__(value)


def combined(found: Iterable[Leaf]) -> str:
    """One digest for all of these leaves, of 16 hexadecimal digits."""
    return sha256(repr([each.facts for each in found]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def settled(tensor: Any, *, copy: bool = True) -> tuple[Any, str]:
    """A tensor's elements row by row in CPU memory, and its dtype with what else is to agree.

    The memory is its own where `copy` asks for that.
    """
    torch = library()
    with torch._C.DisableTorchFunctionSubclass():
        plain = tensor.detach()
        dtype = str(plain.dtype).removeprefix("torch.")
        if plain.is_nested:
            raise NotComparableError("a nested tensor")
        if plain.layout != torch.strided:
            dtype += f" {str(plain.layout).removeprefix('torch.')}"
            plain = plain.to_dense()
        if plain.is_quantized:
            dtype += f" {plain.qscheme()} {plain.q_scale()} {plain.q_zero_point()}"
            plain = plain.int_repr()
        plain = plain.resolve_conj().resolve_neg().to("cpu")
        if not copy:
            return plain.contiguous(), dtype
        # Views of the model's own memory would change under our hands.
        return plain.clone(memory_format=torch.contiguous_format), dtype


def digest(tensor: Any) -> str:
    """SHA-256 of the bytes of a contiguous tensor on the CPU."""
    size = tensor.numel() * tensor.element_size()
    if not size:
        return sha256().hexdigest()
    return sha256((ctypes.c_char * size).from_address(tensor.data_ptr())).hexdigest()


def _parts(name: str, thing: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        yield name, thing
    elif isinstance(thing, library().Tensor):
        yield from _tensors(name, thing, depth)
    elif (inner := contents(thing)) is None or not depth:
        raise NotComparableError(f"{name or 'the output'} is a {type(thing).__name__}")
    else:
        for key, part in inner:
            yield from _parts(f"{name}.{key}" if name else key, part, depth - 1)


def _tensors(name: str, thing: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if not thing.is_nested:
        yield name, thing
        return
    for place, part in enumerate(thing.unbind()):
        yield from _parts(f"{name}.{place}" if name else str(place), part, depth - 1)


def contents(thing: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, by name; None where it is none that is known."""
    if isinstance(thing, Mapping):
        return [(str(key), part) for key, part in thing.items()]
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return list(zip(thing._fields, thing, strict=True))
    if isinstance(thing, list | tuple):
        return [(str(place), part) for place, part in enumerate(thing)]
    if is_dataclass(thing) and not isinstance(thing, type):
        return [(field.name, getattr(thing, field.name)) for field in fields(thing)]
    return None
