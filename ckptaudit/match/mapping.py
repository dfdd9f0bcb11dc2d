"""Renaming keys: `OLD=NEW` for a key, or for all that begins with it; `*` in both stands for a number.

`output=out` makes `output.weight` out.weight, `module=` takes a prefix away, `=model` puts one in front, and
`h.*.attn=layers.*.attention` renames in every block.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import NamedTuple

from ckptaudit.model import TensorMeta


class Mapped(NamedTuple):
    """One renaming, both sides as they were given."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}={self.new}"


def parse(text: str) -> Mapped:
    """`OLD=NEW`. Raises ValueError where it is none, or the numbers of both sides differ."""
    old, sign, new = text.partition("=")
    if not sign or (not old and not new):
        raise ValueError(f"{text!r} is not OLD=NEW")
    if new.count("*") > old.count("*"):
        raise ValueError(f"{text!r} has more '*' in its new name than in its old one")
    return Mapped(old.strip("."), new.strip("."))


def rename(key: str, mapped: Mapped) -> str | None:
    """The new name of `key`; None where the mapping is about other keys."""
    numbers: list[str] = []
    rest = key
    if mapped.old:
        match = _pattern(mapped.old).match(key)
        if match is None:
            return None
        numbers = list(match.groups())
        rest = key[match.end() :].removeprefix(".")
    pieces = mapped.new.split("*")
    filled = pieces[0] + "".join(number + piece for number, piece in zip(numbers, pieces[1:], strict=False))
    return ".".join(part for part in (filled, rest) if part)


@lru_cache(1024)
def _pattern(old: str) -> re.Pattern[str]:
    return re.compile(re.escape(old).replace(r"\*", r"(\d+)") + r"(?=\.|\Z)")


def apply(
    tensors: Mapping[str, TensorMeta], maps: tuple[Mapped, ...], only: Container[str] | None = None
) -> tuple[dict[str, TensorMeta], tuple[str, ...]]:
    """The tensors under their new names, and the mappings that met no key.

    The first mapping that meets a key counts. `only` narrows them to some of the keys.
    """
    if not maps:
        return dict(tensors), ()
    used: set[Mapped] = set()
    renamed = {}
    for key, row in tensors.items():
        new = key
        for mapped in maps if only is None or key in only else ():
            found = rename(key, mapped)
            if found is not None:
                used.add(mapped)
                new = found
                break
        renamed[new] = row
    return renamed, tuple(str(mapped) for mapped in maps if mapped not in used)
