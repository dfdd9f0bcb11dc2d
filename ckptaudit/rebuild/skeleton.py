"""The plan of a state dict: the modules that its names tell, with the layers that its shapes suggest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ckptaudit.layers import Guess, guesses
from ckptaudit.model import Checkpoint, ModuleMeta, Path, TensorMeta
from ckptaudit.rebuild.plan import Level, Part, Plan
from ckptaudit.saved import Saved
from ckptaudit.summary import ties


def plan_skeleton(checkpoint: Checkpoint, own: Saved) -> Plan:
    """What is to be built for the state dict `own` of `checkpoint`, which holds no classes."""
    tensors = with_named_ties(checkpoint, own)
    found = guesses(tensors.values(), own.modules)
    paths = _paths(tensors, own.modules, found)
    parts = {path: _part(path, found.get(path)) for path in paths}
    level: Level = "typed skeleton" if any(part.layer for part in parts.values()) else "parametric skeleton"
    return Plan(
        checkpoint=checkpoint.path,
        name="Model",
        level=level,
        parts=parts,
        tensors=tensors,
        extra=extra_state(checkpoint, own),
        ties=tied(checkpoint, tensors),
    )


def _part(path: str, guess: Guess | None) -> Part:
    if guess is None:
        return Part(path)
    # As a part of a model an inferred layer may run by itself; as the model it would pass for what was saved.
    inferred = ("its class",) if guess.layer is not None and not path else ()
    return Part(
        path,
        guess.layer,
        confidence=guess.confidence,
        alternatives=guess.alternatives,
        arguments=guess.arguments,
        unknown=(*inferred, *guess.unknown),
        wrappers=guess.wrappers,
    )


def _paths(
    tensors: Mapping[str, TensorMeta], modules: Mapping[str, ModuleMeta], found: Mapping[str, Guess]
) -> list[str]:
    """Every module path, each after those above it, siblings in the order of the file."""
    paths: dict[str, None] = {"": None}
    owners = (key.rpartition(".")[0] for key in tensors)
    for path in dict.fromkeys((*owners, *modules, *found)):
        at = path.find(".")
        while at >= 0:
            paths.setdefault(path[:at])
            at = path.find(".", at + 1)
        paths.setdefault(path)
    return list(paths)


def with_named_ties(checkpoint: Checkpoint, own: Saved) -> Mapping[str, TensorMeta]:
    """The tensors of `own`, those too that the file only names: safetensors cannot keep one under two names.

    `safetensors.torch.save_model` leaves the second name out, and notes it in the metadata beside the first.
    """
    tensors = dict(own.tensors)
    for name, kept in checkpoint.metadata.items() if checkpoint.format == "safetensors" else ():
        if kept in own.tensors and name not in tensors:
            tensors[name] = own.tensors[kept]._replace(path=(name,), key=name)
    return tensors


def tied(checkpoint: Checkpoint, tensors: Mapping[str, TensorMeta]) -> tuple[tuple[str, ...], ...]:
    """Groups of keys of `tensors` that are one tensor."""
    by_path = {row.path: row for row in tensors.values()}
    groups = ties(replace(checkpoint, tensors=by_path))
    return tuple(tuple(row.key for row in group) for group in groups)


def extra_state(checkpoint: Checkpoint, own: Saved) -> dict[str, object]:
    """What the state dict holds besides tensors, by key: plain values, nested as they hang in the file."""
    if own.root is None:
        return {}
    values: dict[str, object] = dict.fromkeys(own.other_keys)
    length = len(own.root)
    for path, leaf in checkpoint.extras.items():
        key = path[length] if len(path) > length and path[:length] == own.root else None
        if isinstance(key, str) and key in values:
            values[key] = _put(values[key], path[length + 1 :], leaf)
    return values


def _put(into: object, path: Path, leaf: object) -> object:
    """`into` with `leaf` at `path`: nested dicts, made as needed."""
    if not path:
        return leaf
    made = into if isinstance(into, dict) else {}
    made[path[0]] = _put(made.get(path[0]), path[1:], leaf)
    return made
