"""The words in the name of a module: `self_attn_layer_norm2` is self, attn, layer, norm, and layer_norm."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from re import compile as regex
from typing import NamedTuple

_WORDS = regex(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST = 200


class Words(NamedTuple):
    """Words and pairs of neighbours; `last` are those that end the name, and say best what it names."""

    all: frozenset[str]
    last: frozenset[str]


@lru_cache(maxsize=8192)
def words(name: str) -> Words:
    """The words of a name in lower case, without its numbers."""
    parts = [part.lower() for part in _WORDS.findall(name[:_LONGEST])]
    pairs = [f"{first}_{second}" for first, second in pairwise(parts)]
    # conv1d and conv2d: a number that belongs to the word.
    whole = name.rpartition("_")[2].lower()
    last = frozenset((*parts[-1:], *pairs[-1:], whole))
    return Words(last.union(parts, pairs), last)


@lru_cache(maxsize=8192)
def kind_of(name: str) -> str:
    """A name without its numbers: equal for `layer.0` and `layer.11`, `norm1` and `norm2`."""
    return name.rstrip("0123456789") if name[:1] not in "0123456789" else "#"
