"""What is to be built, before anything is: the modules of a checkpoint, each with what is known of it.

No torch here. `planner` makes a Plan of a checkpoint; `build` makes an nn.Module of it, `emit` source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from ckptaudit.model import TensorMeta

Level = Literal["parametric skeleton", "typed skeleton", "identified", "exact config", "verified"]
Confidence = Literal["certain", "likely", "guess"]
_NOTHING: Mapping[str, object] = MappingProxyType({})


class Part(NamedTuple):
    """One module of the plan.

    `layer` is what is constructed, with `arguments`: a class of torch.nn by its name, or "Conv1D"; None where
    that is not known, or is the user's own class `cls`, as the file names it. `unknown` are the arguments
    that decide what it computes and that nothing tells. `wrappers` are what was applied to it, as in
    `layers.Guess`. `settings` are attributes to be set once it is constructed, `training` its flag (None: not
    known). `hooks` and `odd` are what a file holds of it and no rebuilt module gets: names of hooks,
    attributes that are no plain values. `alias` is the path at which this same module hangs first, where it
    hangs at several.
    """

    path: str
    layer: str | None = None
    cls: str | None = None
    confidence: Confidence | None = None
    alternatives: tuple[str, ...] = ()
    arguments: Mapping[str, object] = _NOTHING
    unknown: tuple[str, ...] = ()
    wrappers: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, object] = _NOTHING
    training: bool | None = None
    hooks: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The architecture of one state dict or whole module; `name` is the class of the model, or "Model".

    `parts` are by dotted path, "" the model itself, every module before those in it and siblings in the
    order of the file. `tensors` are what strict loading takes, by key; `unsaved` what the model owns besides:
    plain attributes and buffers that are not persistent. `extra` are the values of `_extra_state` keys and of
    any other keys that hold no tensor. `ties` are groups of keys that share memory.
    """

    checkpoint: str
    name: str
    level: Level
    parts: Mapping[str, Part]
    tensors: Mapping[str, TensorMeta]
    unsaved: Mapping[str, TensorMeta] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    ties: tuple[tuple[str, ...], ...] = ()
