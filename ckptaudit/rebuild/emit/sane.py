"""Whether a constructor call may be written: what a file says of sizes and counts would run in the reader's
process, and can ask for any amount of memory, or for what torch refuses."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import Final

from ckptaudit.rebuild.emit.made import Made
from ckptaudit.rebuild.emit.tree import Node

_REPEATED: Final = ("num_layers", "num_encoder_layers", "num_decoder_layers")
# Arguments that must divide others.
_DIVIDES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "num_heads": ("embed_dim",),
        "nhead": ("d_model",),
        "num_groups": ("num_channels",),
        "groups": ("in_channels", "out_channels"),
    }
)
_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"padding": ("same", "valid"), "padding_mode": ("zeros", "reflect", "replicate", "circular")}
)
_FEW: Final = 64
_LARGEST: Final = 2**40
_SPARE: Final = 2**20  # elements that a layer may make beside those that the file has


def is_sane(node: Node) -> bool:
    """Whether the arguments are such that torch takes them, and repeat nothing beyond what the file holds."""
    given = node.part.arguments
    inside = _FEW + sum(1 for _ in node.below()) + sum(1 for _ in node.owned())
    counts = [given[name] for name in _REPEATED if name in given]
    if any(type(count) is not int or not 0 < count <= inside for count in counts):
        return False
    if any(isinstance(given.get(name), str) and given[name] not in words for name, words in _WORDS.items()):
        return False
    lists = (value if isinstance(value, list | tuple) else (value,) for value in given.values())
    numbers = [each for values in lists for each in values]
    if any(type(each) is int and abs(each) > _LARGEST for each in numbers):
        return False
    return all(_divides(given, name, wholes) for name, wholes in _DIVIDES.items())


def _divides(given: Mapping[str, object], name: str, wholes: tuple[str, ...]) -> bool:
    part = given.get(name, 1)
    if type(part) is not int or part < 1:
        return False
    return all(type(whole) is not int or whole % part == 0 for whole in map(given.get, wholes))


def is_affordable(node: Node, made: Made) -> bool:
    """Whether the layer makes about as many elements as the file has for it."""
    held = sum(_elements(tensor.shape, tensor.stride) for _, tensor in node.owned())
    return sum(prod(shape) for shape in made.values() if shape is not None) <= 2 * held + _SPARE


def _elements(shape: tuple[int, ...] | None, stride: tuple[int, ...]) -> int:
    """Elements that take memory: an expanded tensor tells of more."""
    return prod(size for size, step in zip(shape or (), stride, strict=False) if step)
