"""A checkpoint in the caller's own architecture, as load_state_dict would load it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING

from ckptaudit.blueprint.live import expectations
from ckptaudit.blueprint.module import blueprint_of
from ckptaudit.errors import CkptAuditError
from ckptaudit.match import Match, match
from ckptaudit.match.mapping import Mapped, parse, renamed
from ckptaudit.model import Checkpoint
from ckptaudit.rebuild.into import Loading
from ckptaudit.rebuild.place import Placer, moved
from ckptaudit.rebuild.plan import Level
from ckptaudit.rebuild.result import Origin, Rebuilt, Source
from ckptaudit.saved import Saved
from ckptaudit.text import dotted

if TYPE_CHECKING:
    from torch import nn


class ModelError(CkptAuditError):
    """What the caller gave as model is none, or cannot take the checkpoint."""


def load_into(
    model: nn.Module | Callable[[], nn.Module],
    checkpoint: Checkpoint,
    own: Saved,
    maps: tuple[str, ...],
    device: str,
) -> Rebuilt:
    """`model`, or what it returns, with the tensors of `own`; keys are renamed by `maps` alone.

    Raises ModelError where `model` gives no nn.Module or a map is none.
    """
    import torch

    module = model if isinstance(model, torch.nn.Module) else model()
    if not isinstance(module, torch.nn.Module):
        raise ModelError(checkpoint.path, f"the model given is a {type(module).__name__}, not an nn.Module")
    blueprint = blueprint_of("model", expectations(module))
    mapped = _parsed(checkpoint, maps)
    found = match(checkpoint, own, blueprint, mapped)
    rows = {key: found.rows[key] for key in found.fitting}
    loading = Loading(module, Placer(checkpoint))
    spare = {key: row for key, row in found.rows.items() if key not in rows}
    try:
        loading.load(rows, spare, blueprint.ties)
    except CkptAuditError:
        raise
    except Exception as error:  # the model's own code
        told = f"its own loading code fails: {type(error).__name__}: {error}"
        raise ModelError(checkpoint.path, told) from error
    if any(str(each.device) != device for each in chain(module.parameters(), module.buffers())):
        module.to(device)
    missing = found.missing if loading.missing is None else loading.missing
    unexpected = found.unexpected if loading.unexpected is None else loading.unexpected
    origins = _origins(found, loading)
    gone = [key for key, origin in origins.items() if origin.source == "from_init"]
    level: Level = "typed skeleton" if gone or unexpected else "identified"
    return Rebuilt(
        module=module,
        checkpoint=checkpoint.path,
        picked=dotted(own.root or ()),
        level=level,
        plan=None,
        origins=origins,
        device=device,
        ties=blueprint.ties,
        missing=missing,
        unexpected=unexpected,
        mismatched=tuple(each.key for each in found.mismatched if each.key not in loading.loaded),
        renamed=_renamed(found),
        suggested=tuple(f"{each.mapped} ({each.sure})" for each in found.renames),
        lost_on_save={name: each.why for name, each in blueprint.lost.items()},
        non_persistent=tuple(
            name for name, each in blueprint.lost.items() if each.why == "non-persistent buffer"
        ),
        moved=moved(checkpoint, rows.values(), device),
        unloaded={**_not_tensors(found, mapped), **{each.key: each.reason for each in loading.left}},
        problems=tuple(_problems(found)),
    )


def _parsed(checkpoint: Checkpoint, maps: Iterable[str]) -> list[Mapped]:
    try:
        return [parse(text) for text in maps]
    except ValueError as error:
        raise ModelError(checkpoint.path, str(error), remedy="write --map OLD=NEW") from None


def _origins(found: Match, loading: Loading) -> dict[str, Origin]:
    """Where each expected key has its values from."""
    loaded = loading.loaded
    tied = dict(found.absent_ties)
    tied |= {key: group[0] for group in found.blueprint.ties for key in group[1:] if group[0] in loaded}
    made = loading.converted | loading.computed | set(found.tolerated)
    origins = {}
    for key, expected in found.blueprint.tensors.items():
        source: Source = "from_init"
        if tied.get(key) in loaded:
            source = "from_tie"
        elif key in made:
            source = "computed"
        elif key in loaded:
            source = "from_file"
        origins[key] = Origin(source, expected.nbytes)
    return origins


def _not_tensors(found: Match, maps: list[Mapped]) -> dict[str, str]:
    """What the model would take of the file besides tensors: its own code would, from torch.load."""
    names, _ = renamed(found.own.other_keys, maps)
    wanted = set(found.blueprint.other_keys)
    return {name: "is no tensor, and is not read as what it is" for name in names.values() if name in wanted}


def _renamed(found: Match) -> dict[str, str]:
    """The keys of the file that were given another name."""
    olds = {row.path: key for key, row in found.own.tensors.items()}
    return {olds[row.path]: key for key, row in found.rows.items() if olds[row.path] != key}


def _problems(found: Match) -> Iterable[str]:
    for row in found.rows.values():
        if row.shape is None:
            yield f"{row.key} is not loaded: a lazy parameter, the file holds no values for it"
    for group in found.diverged:
        keys = " and ".join(row.key for row in group)
        yield f"the model ties {keys}, and the file holds different memory for them: the last one counts"
    for key, name in found.refused:
        yield f"{key} keeps its name: {name} is taken"
    for unused in found.unused:
        yield f"the mapping {unused} met no key"
