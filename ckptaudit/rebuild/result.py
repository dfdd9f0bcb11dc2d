"""What comes of rebuilding: the module, and where everything in it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from ckptaudit.rebuild.plan import Level, Plan

if TYPE_CHECKING:
    from torch import nn

Source = Literal["from_file", "from_tie", "from_init", "computed"]
SOURCES: tuple[Source, ...] = ("from_file", "from_tie", "from_init", "computed")


class Origin(NamedTuple):
    """Where the values of one tensor are from, and its bytes.

    `from_tie`: the memory of a key that is loaded under another name. `from_init`: not loaded at all.
    `computed`: made of what is in the file, as by a change of dtype, or what torch fills in.
    """

    source: Source
    nbytes: int


class Share(NamedTuple):
    """How many tensors, and bytes of them."""

    tensors: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A module made of a checkpoint, loaded and on its device.

    `plan` is what it was made of, None where the caller's own code made it. `origins` are by key of its state
    dict. `missing`, `unexpected` and `mismatched` are keys as strict loading names them; `renamed` the keys
    of the file that were given another name, and `suggested` the mappings that might help. `lost_on_save` are
    tensors that the model owns and no state dict would hold, each with the reason; `hooks` and `odd` what the
    file holds of modules and the rebuilt one has not. `unloaded` are keys whose values are in the
    file and could not be had, each with the reason. `moved` counts tensors by the device that the file tags
    them with, where that is not `device`. `problems` are lines for a person; `cannot_run` says why `forward`
    would raise: empty where it runs.
    """

    module: nn.Module
    checkpoint: str
    picked: str
    level: Level
    plan: Plan | None
    origins: Mapping[str, Origin]
    device: str
    ties: tuple[tuple[str, ...], ...] = ()
    unloaded: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    suggested: tuple[str, ...] = ()
    lost_on_save: Mapping[str, str] = field(default_factory=dict)
    non_persistent: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    moved: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    cannot_run: tuple[str, ...] = ()

    @property
    def loaded(self) -> dict[Source, Share]:
        """How much of the state dict came from where."""
        counts = {source: [0, 0] for source in SOURCES}
        for source, nbytes in self.origins.values():
            counts[source][0] += 1
            counts[source][1] += nbytes
        return {source: Share(*count) for source, count in counts.items()}

    @property
    def is_whole(self) -> bool:
        """Whether every tensor of the model has values from the file, and every one of the file a place."""
        loaded = all(origin.source != "from_init" for origin in self.origins.values())
        return loaded and not (self.missing or self.unexpected or self.mismatched)

    @property
    def fits(self) -> bool:
        """Whether strict loading has nothing to say, but for ties, and what the file holds is in place."""
        return not (self.missing or self.unexpected or self.mismatched or self.unloaded)
