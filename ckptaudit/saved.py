"""What the state dict of a checkpoint's model holds, and what of the model no state dict would hold.

A file that torch.save(model) wrote has more than `model.state_dict()` would have: tensors that are plain
attributes, modules and parameters in plain lists and dicts, buffers that are not persistent. `nn.Module`
registers a parameter, buffer or module only where it is an attribute itself
(https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ckptaudit.errors import SelectionError
from ckptaudit.model import Checkpoint, ModuleMeta, Path, StateDict, TensorMeta
from ckptaudit.summary import members, pick
from ckptaudit.text import dotted, listing

Why = Literal["plain attribute", "in a plain container", "non-persistent buffer"]


class Lost(NamedTuple):
    """A tensor that the model owns and its state dict does not hold."""

    shape: tuple[int, ...] | None
    dtype: str
    why: Why


@dataclass(frozen=True, slots=True)
class Saved:
    """The state dict at `root`: its tensors by key, other keys in it, and what it would lose."""

    root: Path | None
    tensors: Mapping[str, TensorMeta]
    other_keys: tuple[str, ...] = ()
    lost: Mapping[str, Lost] = field(default_factory=dict)
    modules: Mapping[str, ModuleMeta] = field(default_factory=dict)

    @property
    def is_module(self) -> bool:
        """Whether the file holds the module itself, and its state dict is only what it would save."""
        return any(module.cls is not None for module in self.modules.values())


def saved(checkpoint: Checkpoint) -> Saved:
    """The state dict that plainly is the model's; where the file has none, all tensors but optimizers'.

    Raises SelectionError where several could be it.
    """
    chosen = pick(checkpoint)
    if chosen is not None:
        return of_state_dict(checkpoint, chosen)
    roles: dict[str, list[StateDict]] = {}
    for state_dict in checkpoint.state_dicts:
        roles.setdefault(state_dict.role, []).append(state_dict)
    for role in ("model", "ema"):
        if len(found := roles.get(role, [])) == 1:
            return of_state_dict(checkpoint, found[0])
        if found:
            names = listing([dotted(each.root) or "(the whole file)" for each in found])
            reason = f"{names} could each be the model"
            raise SelectionError(checkpoint.path, reason, remedy="name one: PATH::NAME")
    optimizers = {each.root for each in roles.get("optimizer", [])}
    rows = (row for root, found in members(checkpoint).items() if root not in optimizers for row in found)
    return Saved(None, _apart(rows))


def _apart(rows: Iterable[TensorMeta]) -> dict[str, TensorMeta]:
    """Tensors by dotted path; where two paths read alike the later one gets a number."""
    found: dict[str, TensorMeta] = {}
    for row in rows:
        name, again = dotted(row.path), 1
        while name in found:
            again += 1
            name = f"{dotted(row.path)}#{again}"
        found[name] = row
    return found


def of_state_dict(checkpoint: Checkpoint, chosen: StateDict) -> Saved:
    """What the state dict `chosen` holds, or would hold: `chosen` may be a whole module."""
    rows = members(checkpoint)[chosen.root]
    if not any(module.cls is not None for module in chosen.modules.values()):
        others = _other_keys(checkpoint, chosen.root)
        depth = len(chosen.root) + 1
        held = {row.key: row for row in rows if len(row.path) == depth}
        return Saved(chosen.root, held, others, modules=chosen.modules)
    held = {}
    out: list[tuple[TensorMeta, Why]] = []
    for row in rows:
        why = _why_lost(row, chosen.modules)
        if why is None:
            held[row.key] = row
        else:
            out.append((row, why))
    # A plain list of layers that are registered elsewhere too loses nothing.
    views = {(row.storage, row.offset, row.shape, row.stride) for row in held.values()}
    lost = {
        row.key: Lost(row.shape, row.dtype, why)
        for row, why in out
        if (row.storage, row.offset, row.shape, row.stride) not in views
    }
    return Saved(chosen.root, held, lost=lost, modules=chosen.modules)


def _other_keys(checkpoint: Checkpoint, root: Path) -> tuple[str, ...]:
    """Keys of the state dict at `root` whose values are no tensors: strict loading minds them too.

    The extra state of a module is one, whatever it is made of, tensors included.
    """
    length = len(root)
    inside = (path for path in checkpoint.tensors if len(path) > length + 1)
    nested = (each.root for each in checkpoint.state_dicts)
    paths = (path for paths in (checkpoint.extras, inside, nested) for path in paths)
    found = dict.fromkeys(
        dotted(path[length : length + 1]) for path in paths if len(path) > length and path[:length] == root
    )
    return tuple(key for key in found if (*root, key) not in checkpoint.tensors)


def _why_lost(row: TensorMeta, modules: Mapping[str, ModuleMeta]) -> Why | None:
    owner, _, name = row.key.rpartition(".")
    module = modules.get(owner)
    if module is None or not _is_registered(owner, modules):
        return "in a plain container"
    if row.kind == "tensor":
        return "plain attribute"
    transient = (module.config or {}).get("non_persistent_buffers")
    if row.kind == "buffer" and isinstance(transient, list) and name in transient:
        return "non-persistent buffer"
    return None


def _is_registered(path: str, modules: Mapping[str, ModuleMeta]) -> bool:
    """Whether every step on the way to a module is a module: a plain list is none."""
    while path:
        path = path.rpartition(".")[0]
        if path not in modules:
            return False
    return True


def module_classes(checkpoint: Checkpoint) -> list[str]:
    """The dotted classes of the modules that a file holds as a whole, each once, in the order of the file.

    TorchScript and exported programs carry the code of theirs: there it is none.
    """
    if checkpoint.format in ("torchscript", "torch-export"):
        return []
    found = {
        module.cls
        for state_dict in checkpoint.state_dicts
        for module in state_dict.modules.values()
        if module.cls is not None
    }
    order = (f"{ref.module}.{ref.name}" for ref in checkpoint.globals)
    return [name for name in order if name in found]
