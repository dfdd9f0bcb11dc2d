"""Which unexpected keys could be which missing ones: prefixes, wrappers, blocks and layers under other names.

Every suggestion joins tensors of equal shape only and says how sure it is: "certain" where only a wrapper
that torch itself puts around modules, or one prefix of all names, stands between them; "likely" where a
prefix explains most, or a layer with these names, numbers and shapes is the only one of its kind on both
sides; "guess" where numbers change, or shapes alone decide. What could be several things is listed as
ambiguous and not guessed; so is a block that changed its number among equal ones that keep theirs, for all
of them could have been counted from another number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from ckptaudit.match.mapping import NUMBER, Finder, Mapped, is_sayable, parse, renamed, starred

Sure = Literal["certain", "likely", "guess"]
_SURE: tuple[Sure, ...] = ("certain", "likely", "guess")

# DataParallel and DistributedDataParallel, torch.compile, FSDP, checkpoint_wrapper, DeepSpeed.
WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
)
_SHOWN = 8  # candidates that are listed
_PREFIX_PARTS = 4  # of a name: a hostile one of 30,000 parts has as many prefixes
_TRIES = 6


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


class _Named(NamedTuple):
    """A key as part of a layer: its name in there, and the numbers in its whole name where they must stay."""

    key: str
    inside: str
    numbers: tuple[str, ...]


Facts = Mapping[str, Held]
Groups = dict[str, list[_Named]]
Signature = frozenset[tuple[object, ...]]
Cut = Callable[[str], tuple[str, str]]
Pairs = list[tuple[str, str]]


def search(
    expected: Facts, found: Facts, kept: Iterable[tuple[str, Held]] = ()
) -> tuple[tuple[Rename, ...], Left]:
    """Renames that explain missing keys `expected` by unexpected ones `found`, and what is left to explain.

    The longest names come first. `kept` are the keys that both sides know, with what either side holds there.
    """
    left = Left(
        _sayable(expected), _sayable(found), {(starred(key), starred(key), held) for key, held in kept}
    )
    left.wrappers()
    left.prefixes()
    left.layers()
    left.families()
    renames = sorted(_merged(left.renames), key=lambda each: -each.mapped.old.count("."))
    return tuple(renames), left


def _merged(renames: Iterable[Rename]) -> list[Rename]:
    """One for each mapping, as sure as the least sure of those that it was found by."""
    merged: dict[Mapped, Rename] = {}
    for each in renames:
        known = merged.get(each.mapped)
        sure = each.sure if known is None else max(known.sure, each.sure, key=_SURE.index)
        merged[each.mapped] = Rename(each.mapped, sure, (*(known.pairs if known else ()), *each.pairs))
    return list(merged.values())


def tested(renames: Iterable[Rename], keys: Collection[str], known: Container[str]) -> tuple[Rename, ...]:
    """The renames that do what they say where their mappings are given, in this order, for all of `keys`.

    One that would catch keys too that are `known` as they are gives way to those that say one part more of
    the names, and these to one for each key.
    """
    whole = tuple(renames)
    finer: set[Mapped] = set()
    exact: set[Mapped] = set()
    for _ in range(_TRIES):
        wrong = _failing(whole, keys, known)
        if not wrong:
            return whole
        split: list[Rename] = []
        for each in whole:
            if each.mapped in wrong - exact:
                parts = _single(each) if each.mapped in finer else _finer(each)
                (exact if each.mapped in finer else finer).update(part.mapped for part in parts)
                split += parts
        whole = tuple(_merged([*split, *(each for each in whole if each.mapped not in wrong)]))
    return ()


def _finer(whole: Rename) -> list[Rename]:
    """The same keys by mappings that say one part more of each name, its numbers as `*`."""
    moved: dict[Mapped, Pairs] = defaultdict(list)
    for old, new in whole.pairs:
        moved[_between(old, new, spare=1)].append((old, new))
    return [Rename(mapped, whole.sure, tuple(pairs)) for mapped, pairs in moved.items()]


def _single(whole: Rename) -> list[Rename]:
    """One for each key."""
    return [Rename(Mapped(*pair), whole.sure, (pair,)) for pair in whole.pairs]


def _failing(renames: tuple[Rename, ...], keys: Collection[str], known: Container[str]) -> set[Mapped]:
    """The mappings that rename a key otherwise than was meant, or cannot be written down."""
    maps = [each.mapped for each in renames]
    finder = Finder(maps)
    meant = {old: (new, each.mapped) for each in renames for old, new in each.pairs}
    wrong = {mapped for mapped in maps if not _can_be_written(mapped)}
    for key, name in renamed(keys, maps)[0].items():
        wanted, mapped = meant.get(key, (key, None))
        if name != wanted and (mapped is not None or key in known):
            first = finder.first(key)
            wrong.update(each for each in (mapped, first and first[0]) if each is not None)
    return wrong


def _can_be_written(mapped: Mapped) -> bool:
    try:
        return parse(str(mapped)) == mapped
    except ValueError:
        return False


def _sayable(facts: Facts) -> dict[str, Held]:
    return {key: held for key, held in facts.items() if is_sayable(key)}


class Left:
    """What is still to be explained, and what was explained so far."""

    def __init__(
        self, expected: dict[str, Held], found: dict[str, Held], kept: set[tuple[str, str, Held]]
    ) -> None:
        self.expected = expected
        self.found = found
        self.kept = kept
        self.renames: list[Rename] = []

    def wrappers(self) -> None:
        """Names that are equal once the names of wrappers are taken out of them."""
        bare: dict[str, list[str]] = defaultdict(list)
        claims: dict[str, list[str]] = defaultdict(list)
        for key in self.expected:
            bare[_unwrapped(key)].append(key)
        for old in self.found:
            targets = bare.get(_unwrapped(old), [])
            if len(targets) == 1 and self._alike(old, targets[0]):
                claims[targets[0]].append(old)
        moved: dict[Mapped, Pairs] = defaultdict(list)
        for new, olds in claims.items():
            if len(olds) == 1:
                moved[_between(olds[0], new)].append((olds[0], new))
        for mapped, pairs in moved.items():
            self._take(mapped, "certain", pairs)

    def prefixes(self) -> None:
        """A prefix that the file has in front of names, or that it lacks."""
        voted: dict[Mapped, Pairs] = defaultdict(list)
        ends = _ends(self.expected)
        for old in self.found:
            for mapped, new in self._prefixed(old, ends):
                if self._alike(old, new):
                    voted[mapped].append((old, new))
        met = Counter(head for old in self.found for head, _ in _cuts(old))
        met[""] = len(self.found)
        whole = len(self.found) == len(self.expected) == max(map(len, voted.values()), default=0)
        for mapped, pairs in _undisputed(voted).items():
            # A prefix that takes most of its keys elsewhere is no prefix, but a coincidence.
            if len(pairs) >= max(2, met[mapped.old] / 2):
                sure: Sure = "certain" if whole and len(voted) == 1 else "likely"
                self._take(mapped, sure, pairs)

    def _prefixed(self, old: str, ends: Mapping[str, list[str]]) -> Iterator[tuple[Mapped, str]]:
        """What could be taken from, or put in front of, a name to make it one that the model has."""
        for head in ends.get(old, ()):
            yield Mapped("", head), f"{head}.{old}"
        for head, tail in _cuts(old):
            if tail in self.expected:
                yield Mapped(head, ""), tail

    def layers(self) -> None:
        """Layers, or blocks of layers, that hold the same names and shapes, and no others do."""
        for height in (3, 2, 1):
            self._join(_layer(height), "likely", least=2)

    def families(self) -> None:
        """Single tensors by their last name, layers whose numbers change, then tensors by shape alone."""
        self._join(_layer(1), "likely")
        self._join(_layer(1), "guess", renumbered=True)
        self._join(lambda key: (key, ""), "guess")

    def ambiguous(self, renames: Iterable[Rename] = ()) -> tuple[Ambiguity, ...]:
        """What is left, is not moved by `renames` either, and could be one or several of what is left."""
        finder = Finder([each.mapped for each in renames])
        moved = {key: first[1] for key in self.found if (first := finder.first(key)) is not None}
        reached = set(moved.values())
        sides = (
            {key: held for key, held in self.found.items() if key not in moved},
            {key: held for key, held in self.expected.items() if key not in reached},
        )
        alike: dict[Signature, tuple[Groups, Groups]] = {}
        for place, side in enumerate(sides):
            for name, members in _grouped(side, _layer(1)).items():
                signature = frozenset((each.inside, *side[each.key]) for each in members)
                alike.setdefault(signature, ({}, {}))[place][name] = members
        return tuple(_ambiguity(olds, news) for olds, news in alike.values() if olds and news)

    def _join(self, cut: Cut, sure: Sure, *, least: int = 1, renumbered: bool = False) -> None:
        """Join what is the only one of its kind on both sides; `least` is how many tensors it must hold."""
        ours, theirs = (_grouped(side, cut, renumbered) for side in (self.found, self.expected))
        news = _only(theirs, self.expected, least)
        for signature, old in _only(ours, self.found, least).items():
            new = news.get(signature)
            if new is not None:
                targets = {each[1:]: each.key for each in theirs[new]}
                pairs = [(each.key, targets[each[1:]]) for each in ours[old]]
                if not (renumbered and self._could_be_shifted(pairs)):
                    self._take(Mapped(*_trimmed(old, new)), sure, pairs)

    def _could_be_shifted(self, pairs: Pairs) -> bool:
        """Whether only numbers change, and others like it are there that keep theirs."""
        return all((starred(old), starred(new), self.found[old]) in self.kept for old, new in pairs)

    def _alike(self, old: str, new: str) -> bool:
        held, wanted = self.found[old], self.expected[new]
        return wanted.shape is None or held == wanted

    def _take(self, mapped: Mapped, sure: Sure, pairs: Pairs) -> None:
        self.renames.append(Rename(mapped, sure, tuple(pairs)))
        for old, new in pairs:
            if NUMBER.findall(old) == NUMBER.findall(new):
                self.kept.add((starred(old), starred(new), self.found[old]))
            del self.found[old], self.expected[new]


def _ambiguity(olds: Groups, news: Groups) -> Ambiguity:
    """Layers by their names with `*`; in full where that would be one name on both sides."""
    if olds.keys() & news.keys():
        found, expected = (
            list(dict.fromkeys(_layer(1)(each.key)[0] for members in side.values() for each in members))
            for side in (olds, news)
        )
    else:
        found, expected = list(olds), list(news)
    return Ambiguity(tuple(found[:_SHOWN]), tuple(expected[:_SHOWN]))


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _between(old: str, new: str, spare: int = 0) -> Mapped:
    """What to replace in front of `old` to get `new`: as little as does it, its numbers as `*`.

    `spare` is how many of the parts that both names have behind that are said too.
    """
    olds, news = old.split("."), new.split(".")
    same = 0
    while same < min(len(olds), len(news)) and olds[-1 - same] == news[-1 - same]:
        same += 1
    same = max(0, same - spare)
    head, tail = olds[: len(olds) - same], news[: len(news) - same]
    return Mapped(starred(".".join(head)), starred(".".join(tail)))


def _ends(expected: Facts) -> dict[str, list[str]]:
    """What stands in front of each name that a key of the model ends with."""
    ends: dict[str, list[str]] = defaultdict(list)
    for key in expected:
        for head, tail in _cuts(key):
            ends[tail].append(head)
    return ends


def _cuts(key: str) -> Iterator[tuple[str, str]]:
    parts = key.split(".", _PREFIX_PARTS)
    for cut in range(1, len(parts)):
        yield ".".join(parts[:cut]), ".".join(parts[cut:])


def _undisputed(voted: Mapping[Mapped, Pairs]) -> dict[Mapped, Pairs]:
    """Of each mapping the pairs of which both names have no other mapping with as many votes."""
    best: dict[tuple[bool, str], tuple[int, int]] = {}  # for each name the most votes, and how often
    for pairs in voted.values():
        votes = len(pairs)
        for name in _ends_of(pairs):
            most, times = best.get(name, (0, 0))
            best[name] = (votes, 1) if votes > most else (most, times + (votes == most))
    kept = {
        mapped: [pair for pair in pairs if all(best[name] == (len(pairs), 1) for name in _ends_of([pair]))]
        for mapped, pairs in voted.items()
    }
    return {mapped: pairs for mapped, pairs in kept.items() if pairs}


def _ends_of(pairs: Pairs) -> Iterator[tuple[bool, str]]:
    """Both names of each pair; the same text may be a name on either side."""
    for old, new in pairs:
        yield False, old
        yield True, new


def _layer(height: int) -> Cut:
    """Cuts a name before its last `height` parts: what a layer is called, and what is in it."""

    def cut(key: str) -> tuple[str, str]:
        parts = key.rsplit(".", height)
        return (parts[0], key[len(parts[0]) + 1 :]) if len(parts) > height else ("", key)

    return cut


def _grouped(side: Facts, cut: Cut, renumbered: bool = False) -> Groups:
    """Every tensor by the name of what holds it, with `*` for the numbers that must stay."""
    groups: Groups = defaultdict(list)
    for key in side:
        owner, inside = cut(key)
        numbers = () if renumbered else tuple(NUMBER.findall(key))
        groups[owner if renumbered else starred(owner)].append(_Named(key, inside, numbers))
    return groups


def _only(groups: Groups, side: Facts, least: int) -> dict[Signature, str]:
    """The groups that are the only one of their signature: the names in them, numbers, shapes and dtypes."""
    found: dict[Signature, list[str]] = defaultdict(list)
    for name, members in groups.items():
        if len({each.inside for each in members}) >= least:
            found[frozenset((each.inside, each.numbers, *side[each.key]) for each in members)].append(name)
    return {signature: names[0] for signature, names in found.items() if len(names) == 1}


def _trimmed(old: str, new: str) -> tuple[str, str]:
    """Both names without the parts that they end with alike: `a.conv` and `b.conv` differ in a and b."""
    olds, news = old.split("."), new.split(".")
    while len(olds) > 1 and len(news) > 1 and olds[-1] == news[-1]:
        olds.pop()
        news.pop()
    return ".".join(olds), ".".join(news)
