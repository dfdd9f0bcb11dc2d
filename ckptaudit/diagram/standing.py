"""A checkpoint against a reference, as a picture shows it: what is missing stands where it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ckptaudit.blueprint import load
from ckptaudit.diagram.parts import Standing
from ckptaudit.match import Match, Rename, match
from ckptaudit.model import Checkpoint, Path, Storage, TensorMeta
from ckptaudit.saved import saved
from ckptaudit.text import shape

MISSING: Final = "missing"  # the device of what is not there


class Renamed(NamedTuple):
    """One mapping of old names to new ones, how sure it is, and the tensors that it joins."""

    old: str
    new: str
    sure: str
    pairs: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """`checkpoint` with what is missing in it, where each tensor stands, and what was renamed.

    A device is followed by a line end and the standing of the tensor where it has one: only what stands alike
    is alike.
    """

    checkpoint: Checkpoint
    standings: dict[Path, Standing]
    renames: tuple[Renamed, ...]
    notes: dict[Path, str]


def against(checkpoint: Checkpoint, reference: str, seconds: float | None = None) -> Match:
    """Compare the model of a checkpoint with a reference.

    Raises CkptAuditError where the reference cannot be read, or several state dicts could be the model.
    """
    blueprint = load(reference) if seconds is None else load(reference, seconds=seconds)
    return match(checkpoint, saved(checkpoint), blueprint)


def compared(checkpoint: Checkpoint, found: Match) -> Compared:
    """What `found` tells, put into the checkpoint that it is about."""
    root = found.own.root or ()
    standings: dict[Path, Standing] = {}
    notes: dict[Path, str] = {}
    for key in found.unexpected:
        if key in found.rows:
            standings[found.rows[key].path] = "unexpected"
    for mismatch in found.mismatched:
        standings[found.rows[mismatch.key].path] = "mismatched"
        notes[found.rows[mismatch.key].path] = f"expected {shape(mismatch.expected.shape)}"
    ghosts = dict(_ghosts(found, root))
    standings.update(dict.fromkeys(ghosts, "missing"))
    renames = tuple(
        Renamed(each.mapped.old, each.mapped.new, each.sure, _joined(each, found, root, ghosts))
        for each in found.renames
    )
    return Compared(_marked(checkpoint, ghosts, standings), standings, renames, notes)


def _joined(
    rename: Rename, found: Match, root: Path, ghosts: Mapping[Path, TensorMeta]
) -> tuple[tuple[Path, Path], ...]:
    return tuple(
        (found.rows[old].path, (*root, new))
        for old, new in rename.pairs
        if old in found.rows and (*root, new) in ghosts
    )


def _ghosts(found: Match, root: Path) -> Iterator[tuple[Path, TensorMeta]]:
    for key in found.missing:
        wanted = found.blueprint.tensors.get(key)
        if wanted is not None:
            path = (*root, key)
            yield path, TensorMeta(path, key, wanted.dtype, wanted.shape, (), 0, MISSING)


def _marked(
    checkpoint: Checkpoint, ghosts: dict[Path, TensorMeta], standings: dict[Path, Standing]
) -> Checkpoint:
    """Tensors moved to a storage whose device says how they stand: so they fold only with their like."""
    tensors = {**checkpoint.tensors, **ghosts}
    storages = {**checkpoint.storages, MISSING: Storage(MISSING, None, MISSING, 0, None)}
    for path, standing in standings.items():
        tensor = tensors[path]
        storage = storages.get(tensor.storage)
        if standing != "missing" and storage is not None:
            name = f"{storage.id}\n{standing}"
            storages[name] = storage._replace(id=name, device=f"{storage.device}\n{standing}")
            tensors[path] = tensor._replace(storage=name)
    return replace(checkpoint, tensors=tensors, storages=storages)


def unmarked(device: str) -> str:
    """The device without the mark that `compared` put behind it."""
    name, _, standing = device.rpartition("\n")
    return name if name and standing in ("unexpected", "mismatched") else device
