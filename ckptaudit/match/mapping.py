"""Renaming keys: `OLD=NEW` for a key, or for all that begins with it; `*` in both stands for a number.

`output=out` makes `output.weight` out.weight, `module=` takes a prefix away, `=model` puts one in front, and
`h.*.attn=layers.*.attention` renames in every block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

NUMBER = re.compile(r"\d+")


class Mapped(NamedTuple):
    """One renaming, both sides as they were given."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}={self.new}"


def parse(text: str) -> Mapped:
    """`OLD=NEW`. Raises ValueError where it is none, or its new name has more numbers than its old one."""
    old, sign, new = text.partition("=")
    old, new = old.strip("."), new.strip(".")
    if not sign or (not old and not new):
        raise ValueError(f"{text!r} is not OLD=NEW")
    if new.count("*") > old.count("*"):
        raise ValueError(f"{text!r} has more '*' in its new name than in its old one")
    return Mapped(old, new)


def is_sayable(name: str) -> bool:
    """Whether a mapping can say this name: `=` and `*` mean something else in it."""
    return not ("=" in name or "*" in name or name.startswith(".") or name.endswith("."))


def rename(key: str, mapped: Mapped) -> str | None:
    """The new name of `key`; None where the mapping is about other keys."""
    old, filled = mapped
    rest = key
    if "*" in old:
        match = _pattern(old).match(key)
        if match is None:
            return None
        pieces = filled.split("*")
        filled = pieces[0] + "".join(map("".join, zip(match.groups(), pieces[1:], strict=False)))
        rest = key[match.end() :]
    elif old:
        rest = key.removeprefix(old)
        if not key.startswith(old) or rest[:1] not in ("", "."):
            return None
    rest = rest.removeprefix(".") if old else rest
    return f"{filled}.{rest}" if filled and rest else filled or rest or None


@lru_cache(1024)
def _pattern(old: str) -> re.Pattern[str]:
    return re.compile(re.escape(old).replace(r"\*", r"(\d+)") + r"(?=\.|\Z)")


def starred(name: str) -> str:
    """h.0.attn -> h.*.attn."""
    return NUMBER.sub("*", name)


class Finder:
    """Finds, among many mappings, the first that meets a key, without trying one after the other."""

    def __init__(self, maps: Sequence[Mapped]) -> None:
        self._maps = maps
        self._by_old: dict[str, list[int]] = {}
        self._others: list[int] = []  # `h.0.attn*`: what is neither plain nor has `*` for all of its numbers
        self._depth = 0
        for place, (old, _) in enumerate(maps):
            if "*" in old and (NUMBER.search(old) or "**" in old):
                self._others.append(place)
            else:
                self._by_old.setdefault(old, []).append(place)
                self._depth = max(self._depth, old.count(".") + 1)

    def first(self, key: str) -> tuple[Mapped, str] | None:
        """The mapping, and the new name of the key."""
        known = {place for head in self._heads(key) for place in self._by_old.get(head, ())}
        for place in sorted(known.union(self._others)):
            new = rename(key, self._maps[place])
            if new is not None:
                return self._maps[place], new
        return None

    def _heads(self, key: str) -> Iterator[str]:
        yield ""
        for name in (key, starred(key)):
            at = -1
            for _ in range(self._depth):
                at = name.find(".", at + 1)
                yield name if at < 0 else name[:at]
                if at < 0:
                    break


def renamed(keys: Collection[str], maps: Sequence[Mapped]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The name of every key after renaming, and the mappings that met no key.

    The first mapping that meets a key counts. No two keys get one name: whoever comes too late stays.
    """
    if not maps:
        return {key: key for key in keys}, ()
    finder = Finder(maps)
    found = {key: first for key in keys if (first := finder.first(key)) is not None}
    met = {mapped for mapped, _ in found.values()}
    holders = {key: key for key in keys if key not in found}
    for key, (_, new) in found.items():
        _settle(holders, key, new)
    names = {key: name for name, key in holders.items()}
    return {key: names[key] for key in keys}, tuple(str(mapped) for mapped in maps if mapped not in met)


def refused(names: Mapping[str, str], maps: Sequence[Mapped]) -> tuple[tuple[str, str], ...]:
    """The keys that `renamed` could not give the name that a mapping says, each with that name."""
    finder = Finder(maps)
    firsts = ((key, finder.first(key)) for key in (names if maps else ()))
    return tuple((key, first[1]) for key, first in firsts if first is not None and names[key] != first[1])


def _settle(holders: dict[str, str], key: str, name: str) -> None:
    """Give `key` the name, or its own where that is taken: then whoever moved onto that moves back."""
    if name in holders:
        name = key
    while name in holders:
        holders[name], key = key, holders[name]
        name = key
    holders[name] = key
