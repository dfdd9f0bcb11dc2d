"""A checkpoint against what is expected of it: which keys are missing, unexpected, renamed, of another shape.

Strict loading is the measure (torch.nn.Module.load_state_dict): what it would refuse is told, and what it
lets pass although something is wrong, too. Nothing here reads a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptaudit.blueprint import Blueprint, Expected
from ckptaudit.match.mapping import Mapped, refused, renamed
from ckptaudit.match.renames import Ambiguity, Rename, held_by, search, tested
from ckptaudit.match.shapes import Mismatch, explained
from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.saved import Saved
from ckptaudit.summary import ties

__all__ = ["Ambiguity", "Match", "Mismatch", "Rename", "match"]

# torch.nn.modules.batchnorm._NormBase fills this in where the module's saved version is below 2, or unknown.
_TRACKED = "num_batches_tracked"
_TRACKED_SINCE = 2


@dataclass(frozen=True, slots=True)
class Match:
    """What comes of loading `own` into the model of `blueprint`.

    `missing` and `unexpected` are what strict loading would name; of what the model ties, only keys whose
    memory is nowhere in the file are missing: `absent_ties` are the others, each with the key that is there.
    `tolerated` are missing keys that torch fills in. `diverged` are ties of the model that the file holds
    in different memory. `ambiguous` are keys that could each be several of the expected ones. `after` says
    how many keys would be missing, unexpected and of another shape with `renames` applied. `rows` are the
    tensors of `own` by their names after mapping, `refused` what a mapping could not rename, each with the
    name that another tensor has, and `unused` the mappings that met no key.
    """

    blueprint: Blueprint
    own: Saved
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    absent_ties: tuple[tuple[str, str], ...]
    tolerated: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    dtypes: tuple[Mismatch, ...]
    diverged: tuple[tuple[TensorMeta, ...], ...]
    renames: tuple[Rename, ...]
    ambiguous: tuple[Ambiguity, ...]
    after: tuple[int, int, int]
    fitting: tuple[str, ...] = field(repr=False)
    rows: Mapping[str, TensorMeta] = field(repr=False)
    refused: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()


def match(checkpoint: Checkpoint, own: Saved, blueprint: Blueprint, maps: Iterable[Mapped] = ()) -> Match:
    """Compare the state dict `own` of `checkpoint` with `blueprint`, its keys first renamed by `maps`."""
    maps = tuple(maps)
    names, unused = renamed((*own.tensors, *own.other_keys), maps)
    expected = blueprint.tensors
    outcome = _compare(own, names, blueprint)
    rows = outcome.rows
    renames, left = search(
        {key: held_by(*expected[key]) for key in outcome.missing if key in expected},
        {key: held_by(rows[key].shape, rows[key].dtype) for key in outcome.unexpected if key in rows},
        (
            (key, held)
            for key, row in rows.items()
            if key in expected
            for held in {held_by(*expected[key]), held_by(row.shape, row.dtype)}
        ),
    )
    renames = tested(renames, names.values(), expected)
    wrong = {each.key for each in outcome.mismatched}
    return Match(
        blueprint=blueprint,
        own=own,
        missing=outcome.missing,
        unexpected=outcome.unexpected,
        absent_ties=outcome.absent_ties,
        tolerated=outcome.tolerated,
        mismatched=explained(outcome.mismatched),
        dtypes=tuple(
            Mismatch(key, expected[key], Expected(row.shape, row.dtype), "dtype")
            for key, row in rows.items()
            if key in expected and key not in wrong and row.dtype != expected[key].dtype
        ),
        diverged=_diverged(checkpoint, blueprint, rows),
        renames=renames,
        ambiguous=left.ambiguous(renames),
        after=_after(own, names, blueprint, renames, outcome),
        fitting=tuple(key for key in rows if key in expected and key not in wrong),
        rows=rows,
        refused=refused(names, maps),
        unused=unused,
    )


class _Outcome(NamedTuple):
    """What strict loading would say; `rows` are the tensors under their new names."""

    rows: Mapping[str, TensorMeta]
    missing: tuple[str, ...]
    tolerated: tuple[str, ...]
    absent_ties: tuple[tuple[str, str], ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]


def _compare(own: Saved, names: Mapping[str, str], blueprint: Blueprint) -> _Outcome:
    """Compare `own`, its keys called by `names`, with what is expected."""
    rows = {names[key]: row for key, row in own.tensors.items()}
    others = {names[key] for key in own.other_keys}
    absent, absent_ties = _absent(blueprint, rows)
    tolerated = tuple(key for key in absent if _is_tolerated(key, own))
    filled = set(tolerated)
    # What a whole module would put into its state dict beside tensors only its code knows.
    lacking = () if own.is_module else (key for key in blueprint.other_keys if key not in others)
    wanted = blueprint.tensors.keys() | set(blueprint.other_keys)
    return _Outcome(
        rows=rows,
        missing=(*(key for key in absent if key not in filled), *lacking),
        tolerated=tolerated,
        absent_ties=absent_ties,
        unexpected=tuple(
            key for key in (*rows, *map(names.__getitem__, own.other_keys)) if key not in wanted
        ),
        mismatched=_mismatched(rows, blueprint.tensors),
    )


def _absent(
    blueprint: Blueprint, rows: Mapping[str, TensorMeta]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Expected keys that the file has not: those to miss, and those whose tied memory is there."""
    there: dict[str, str | None] = {}
    for group in blueprint.ties:
        there.update(dict.fromkeys(group, next((key for key in group if key in rows), None)))
    missing, benign = [], []
    for key in blueprint.tensors:
        if key in rows:
            continue
        present = there.get(key)
        if present is None:
            missing.append(key)
        else:
            benign.append((key, present))
    return tuple(missing), tuple(benign)


def _is_tolerated(key: str, own: Saved) -> bool:
    owner, _, name = key.rpartition(".")
    if name != _TRACKED:
        return False
    module = own.modules.get(owner)
    return module is None or module.version is None or module.version < _TRACKED_SINCE


def _mismatched(rows: Mapping[str, TensorMeta], expected: Mapping[str, Expected]) -> tuple[Mismatch, ...]:
    found = []
    for key, row in rows.items():
        wanted = expected.get(key)
        # What the model itself does not know yet takes any shape.
        if wanted is not None and wanted.shape is not None and row.shape != wanted.shape:
            found.append(Mismatch(key, wanted, Expected(row.shape, row.dtype), ""))
    return tuple(found)


def _diverged(
    checkpoint: Checkpoint, blueprint: Blueprint, rows: Mapping[str, TensorMeta]
) -> tuple[tuple[TensorMeta, ...], ...]:
    """For each tie that the file holds in several memories, one tensor of each of them."""
    if not blueprint.ties:
        return ()
    memory = {tensor.path: number for number, group in enumerate(ties(checkpoint)) for tensor in group}
    found = []
    for group in blueprint.ties:
        apart: dict[object, TensorMeta] = {}
        for key in group:
            if key in rows and rows[key].numel > 0:  # what has no elements, or none yet, has no memory
                apart.setdefault(memory.get(rows[key].path, key), rows[key])
        if len(apart) > 1:
            found.append(tuple(apart.values()))
    return tuple(found)


def _after(
    own: Saved,
    names: Mapping[str, str],
    blueprint: Blueprint,
    renames: tuple[Rename, ...],
    outcome: _Outcome,
) -> tuple[int, int, int]:
    """How many keys would be missing, unexpected and of another shape if all that is suggested were done."""
    if renames:
        again, _ = renamed(names.values(), tuple(each.mapped for each in renames))
        outcome = _compare(own, {key: again[name] for key, name in names.items()}, blueprint)
    return len(outcome.missing), len(outcome.unexpected), len(outcome.mismatched)
