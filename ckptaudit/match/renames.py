"""Which unexpected keys could be which missing ones: prefixes, wrappers, blocks and layers under other names.

Every suggestion joins tensors of equal shape only, keeps the numbers in names, and says how sure it
is: "certain" where only a wrapper that torch itself puts around modules, or one prefix, stands between the
names; "likely" where a layer with these names and shapes inside is the only one of its kind on both sides;
"guess" where shapes alone decide. What could be several things is listed as ambiguous and not guessed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from ckptaudit.match.mapping import Mapped, rename

Sure = Literal["certain", "likely", "guess"]

# DataParallel and DistributedDataParallel, torch.compile, FSDP, checkpoint_wrapper, DeepSpeed.
WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
)
_NUMBER = re.compile(r"\d+")
_SHOWN = 8  # candidates that are listed
_PREFIX_PARTS = 4  # of a name: a hostile one of 30,000 parts has as many prefixes


class Held(NamedTuple):
    """What an expected and a found tensor must have in common: a model that is saved in half stays itself."""

    shape: tuple[int, ...] | None
    is_float: bool


def held_by(shape: tuple[int, ...] | None, dtype: str) -> Held:
    """What is compared of a tensor."""
    return Held(shape, "float" in dtype)


class Rename(NamedTuple):
    """One mapping of old names in the file to names that the model expects, and the keys that it joins."""

    mapped: Mapped
    sure: Sure
    pairs: tuple[tuple[str, str], ...]


class Ambiguity(NamedTuple):
    """Names in the file that could each be several expected ones; `*` stands for numbers."""

    found: tuple[str, ...]
    expected: tuple[str, ...]


Facts = Mapping[str, Held]
Signature = frozenset[tuple[object, ...]]
Cut = Callable[[str], tuple[str, str]]


def search(expected: Facts, found: Facts) -> tuple[tuple[Rename, ...], tuple[Ambiguity, ...]]:
    """The renames that explain missing keys `expected` by unexpected ones `found`, the longest names first.

    In this order each of them can be applied where it is the first that fits.
    """
    left = _Left(dict(expected), dict(found))
    left.wrappers()
    left.prefixes()
    left.layers()
    left.families()
    renames = sorted(left.renames, key=lambda each: -len(each.mapped.old.split(".")))
    return tuple(renames), left.ambiguous()


class _Left:
    """What is still to be explained, and what was explained so far."""

    def __init__(self, expected: dict[str, Held], found: dict[str, Held]) -> None:
        self.expected = expected
        self.found = found
        self.renames: list[Rename] = []

    def wrappers(self) -> None:
        """Names that are equal once the names of wrappers are taken out of them."""
        bare: dict[str, list[str]] = defaultdict(list)
        for key in self.expected:
            bare[_unwrapped(key)].append(key)
        moved: dict[Mapped, list[tuple[str, str]]] = defaultdict(list)
        for old in self.found:
            targets = bare.get(_unwrapped(old), [])
            if len(targets) == 1 and self._alike(old, targets[0]):
                moved[_between(old, targets[0])].append((old, targets[0]))
        for mapped, pairs in moved.items():
            self._take(mapped, "certain", pairs)

    def prefixes(self) -> None:
        """A prefix that the file has in front of names, or that it lacks."""
        while True:
            votes: Counter[Mapped] = Counter()
            ends = _ends(self.expected)
            for old in self.found:
                votes.update(mapped for mapped, new in _prefixes(old, ends) if self._alike(old, new))
            best = [mapped for mapped, _ in votes.most_common(2)]
            if not best or (len(best) == 2 and votes[best[0]] == votes[best[1]]):
                return
            pairs = self._by(best[0])
            # A prefix that takes some of its keys elsewhere is no prefix, but a coincidence.
            if len(pairs) < max(2, sum(rename(old, best[0]) is not None for old in self.found) / 2):
                return
            self._take(best[0], "certain" if len(pairs) == len(self.found) else "likely", pairs)

    def layers(self) -> None:
        """Layers, or blocks of layers, that hold the same names and shapes, and no others do."""
        for height in (3, 2, 1):
            self._join(lambda key, height=height: _split(key, height), "likely", least=2)  # type: ignore[misc]

    def families(self) -> None:
        """Single tensors, by their last name first, then by shape alone."""
        self._join(lambda key: _split(key, 1), "likely", least=1)
        self._join(lambda key: (key, ""), "guess", least=1)

    def ambiguous(self) -> tuple[Ambiguity, ...]:
        """What is left, and could be more than one of what is left."""
        ours, theirs = (_grouped(side, lambda key: _split(key, 1)) for side in (self.found, self.expected))
        by_signature: dict[Signature, tuple[list[str], list[str]]] = {}
        for place, groups in enumerate((ours, theirs)):
            for name, keys in groups.items():
                side = self.found if place == 0 else self.expected
                by_signature.setdefault(_signature(keys, side), ([], []))[place].append(name)
        return tuple(
            Ambiguity(tuple(olds[:_SHOWN]), tuple(news[:_SHOWN]))
            for olds, news in by_signature.values()
            if olds and news
        )

    def _join(self, cut: Cut, sure: Sure, least: int) -> None:
        """Join what is the only one of its kind on both sides; `least` is how many tensors it must hold."""
        ours, theirs = _grouped(self.found, cut), _grouped(self.expected, cut)
        olds = _by_signature(ours, self.found, least)
        news = _by_signature(theirs, self.expected, least)
        for signature, names in olds.items():
            if len(names) == 1 and len(news.get(signature, ())) == 1:
                old, new = names[0], news[signature][0]
                targets = {(inside, *_NUMBER.findall(key)): key for key, inside in theirs[new]}
                pairs = [(key, targets[(inside, *_NUMBER.findall(key))]) for key, inside in ours[old]]
                self._take(Mapped(*_trimmed(old, new)), sure, pairs)

    def _by(self, mapped: Mapped) -> list[tuple[str, str]]:
        pairs = ((old, rename(old, mapped)) for old in self.found)
        return [(old, new) for old, new in pairs if new is not None and self._alike(old, new)]

    def _alike(self, old: str, new: str) -> bool:
        held, wanted = self.found.get(old), self.expected.get(new)
        return held is not None and wanted is not None and (wanted.shape is None or held == wanted)

    def _take(self, mapped: Mapped, sure: Sure, pairs: Iterable[tuple[str, str]]) -> None:
        pairs = tuple(pairs)
        if pairs:
            self.renames.append(Rename(mapped, sure, pairs))
        for old, new in pairs:
            del self.found[old], self.expected[new]


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _between(old: str, new: str) -> Mapped:
    """What to replace in front of `old` to get `new`: as little as does it, its numbers as `*`."""
    olds, news = old.split("."), new.split(".")
    same = 0
    while same < min(len(olds), len(news)) and olds[-1 - same] == news[-1 - same]:
        same += 1
    head, tail = olds[: len(olds) - same], news[: len(news) - same]
    return Mapped(_starred(".".join(head)), _starred(".".join(tail)))


def _ends(expected: Facts) -> dict[str, list[str]]:
    """What stands in front of each name that a key of the model ends with; "" for the key itself."""
    ends: dict[str, list[str]] = defaultdict(list)
    for key in expected:
        ends[key].append("")
        for head, tail in _cuts(key):
            ends[tail].append(head)
    return ends


def _cuts(key: str) -> Iterable[tuple[str, str]]:
    parts = key.split(".", _PREFIX_PARTS)
    for cut in range(1, len(parts)):
        yield ".".join(parts[:cut]), ".".join(parts[cut:])


def _prefixes(old: str, ends: Mapping[str, list[str]]) -> Iterable[tuple[Mapped, str]]:
    """What could be taken away from, or put in front of, a name to make it one that the model has."""
    for head in ends.get(old, ()):
        if head:
            yield Mapped("", head), f"{head}.{old}"
    for head, tail in _cuts(old):
        if "" in ends.get(tail, ()):
            yield Mapped(head, ""), tail


def _starred(name: str) -> str:
    return _NUMBER.sub("*", name)


def _split(key: str, height: int) -> tuple[str, str]:
    """A name without its last `height` parts, and those parts: what a layer is called, and what is in it."""
    parts = key.rsplit(".", height)
    return (parts[0], key[len(parts[0]) + 1 :]) if len(parts) > height else ("", key)


def _grouped(side: Facts, cut: Cut) -> dict[str, list[tuple[str, str]]]:
    """(key, name inside) of every tensor, by the name of what holds it with `*` for its numbers."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in side:
        owner, inside = cut(key)
        groups[_starred(owner)].append((key, inside))
    return groups


def _signature(keys: Iterable[tuple[str, str]], side: Facts) -> Signature:
    """What two layers must have in common: the names in them, their numbers, shapes and dtypes."""
    return frozenset((inside, tuple(_NUMBER.findall(key)), *side[key]) for key, inside in keys)


def _by_signature(
    groups: Mapping[str, list[tuple[str, str]]], side: Facts, least: int
) -> dict[Signature, list[str]]:
    found: dict[Signature, list[str]] = defaultdict(list)
    for name, keys in groups.items():
        if len({inside for _, inside in keys}) >= least:
            found[_signature(keys, side)].append(name)
    return found


def _trimmed(old: str, new: str) -> tuple[str, str]:
    """Both names without the parts that they end with alike: `a.conv` and `b.conv` differ in a and b."""
    olds, news = old.split("."), new.split(".")
    while len(olds) > 1 and len(news) > 1 and olds[-1] == news[-1]:
        olds.pop()
        news.pop()
    return ".".join(olds), ".".join(news)
