"""The rule `tied-weights`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from ckptaudit.audit import Finding, note, rule
from ckptaudit.model import Checkpoint, Path
from ckptaudit.summary import Group, Held, alias_name, owner_of, roles
from ckptaudit.text import above, dotted, listing, plural, size

Heads = tuple[str, ...]


@rule("structure")
def tied_weights(checkpoint: Checkpoint, held: Held, tied: tuple[Group, ...]) -> Iterator[Finding]:
    """Several keys are one tensor: they share their memory.

    ## What it finds
    Tensors that view the same bytes alike. Layers of equal shape, or one layer that a model calls twice,
    are no tie. Modules that share all of their tensors are one finding: `a.* = b.*`.

    ## Why it matters
    Counted by keys, the model looks larger than it is. Formats without ties (safetensors) lose one of the
    names or store the tensor twice, and training goes on with two.

    ## Example
    `wte.weight = lm_head.weight: one storage, 2 keys`.

    ## What to do
    Nothing, where the model ties them on purpose. With `--against` the ties of the model are compared.
    """
    if not tied:
        return
    names = alias_name(checkpoint)
    root = _root(checkpoint)
    several = sum(role in ("model", "ema") for role in roles(checkpoint).values()) > 1
    for place, heads, groups in _modules(held, [(root(group), names(group), group) for group in tied]):
        keys = [key for group in groups for key in names(group)]
        told = [f"{head}.*" for head in heads] if heads else keys
        where = f"{dotted(place)}: " if several and place else ""
        saved = size(sum(group[0].nbytes * (len(group) - 1) for group in groups))
        storages = "one storage" if len(groups) == 1 else plural(len(groups), "storage")
        yield note(
            f"{where}{listing(told, 8).replace(', ', ' = ')}: {storages}, {len(keys):,} keys, {saved} saved",
            keys,
        )


def _root(checkpoint: Checkpoint) -> Callable[[Group], Path | None]:
    """A function that gives the state dict of a group, None where its tensors are in several, or in none."""
    owner = owner_of(checkpoint)

    def root(group: Group) -> Path | None:
        roots = {None if (found := owner(tensor.path)) is None else found.root for tensor in group}
        return roots.pop() if len(roots) == 1 else None

    return root


def _modules(
    held: Held, tied: Iterable[tuple[Path | None, list[str], Group]]
) -> Iterator[tuple[Path | None, Heads, list[Group]]]:
    """Ties by their state dict: those of whole modules together, with the names of these; others alone."""
    alike: dict[tuple[Path | None, Heads], list[Group]] = {}
    for place, keys, group in tied:
        heads = None if place is None else _heads(keys)
        alike.setdefault((place, heads or tuple(keys)), []).append(group)
    counts: dict[Path | None, Counter[str]] = {}
    for place, heads in alike:
        counts.setdefault(place, Counter()).update(dict.fromkeys(heads, 0))
    for place, count in counts.items():
        for row in held.get(place, ()):
            count.update(head for head in above(row.key) if head in count)
    for (place, heads), groups in alike.items():
        # Two modules may tie some of their tensors, and keep others apart.
        if len(groups) > 1 and all(counts[place][head] == len(groups) for head in heads):
            yield place, heads, groups
        else:
            yield from ((place, (), [group]) for group in groups)


def _heads(keys: list[str]) -> Heads | None:
    """The names without the parts that they all end with; None where nothing of one would be left."""
    parts = [key.split(".") for key in keys]
    while all(len(part) > 1 for part in parts) and len({part[-1] for part in parts}) == 1:
        for part in parts:
            part.pop()
    heads = tuple(".".join(part) for part in parts)
    return heads if heads != tuple(keys) and len(set(heads)) == len(heads) else None
