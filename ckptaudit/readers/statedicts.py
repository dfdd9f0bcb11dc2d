"""Which of the mappings in a saved object are state dicts, whose they are, and what modules they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ckptaudit.model import ModuleMeta, Path, Role, StateDict
from ckptaudit.readers.draft import Draft

_EMA = re.compile(r"(^|[_.\-])(ema|swa|averaged?|shadow)($|[_.\-])|_ema|ema_", re.IGNORECASE)
_OPTIMIZER = re.compile(
    r"(^|[_.\-])(optim|optims|optimizers?|optimisers?|opt|opt_g|opt_d)($|[_.\-])", re.IGNORECASE
)
# The names that torch.nn's own modules give their tensors: a mapping that uses one is a state dict.
_PARAMETER_NAMES = frozenset(
    {"weight", "bias", "weight_g", "weight_v", "in_proj_weight", "in_proj_bias", "weight_ih", "weight_hh"}
    | {"weight_ih_l0", "weight_hh_l0", "running_mean", "running_var", "num_batches_tracked"}
)
_new = tuple.__new__  # makes a named tuple without its Python-level constructor: there are 20,000
_REST = ModuleMeta("")[5:]

_PART_OF_NAME = re.compile(r"[\w -]+").fullmatch
_LONG_KEY, _DEEPEST = 1000, 100
_LONGEST, _PART = 65_536, 100  # characters of a joined name, and of a part where it is longer


class Roots:
    """The mappings, modules and optimizers met on the walk; `settle` makes StateDicts of them."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._versions: dict[Path, Mapping[str, int | None]] = {}
        self._optimizers: set[Path] = set()
        self._modules: dict[Path, dict[str, ModuleMeta]] = {}
        self._keys: dict[Path, list[str]] = {}  # of the tensors, by their state dict

    def mapping(self, path: Path, versions: Mapping[str, int | None]) -> None:
        """A mapping at `path`; `versions` is its `_metadata`: the version of each module by name."""
        if _extra_state(path) is None:
            self._versions[path] = versions

    def optimizer(self, path: Path) -> None:
        """A mapping at `path` that has an optimizer's `state` and `param_groups`."""
        self._optimizers.add(path)

    def module(self, root: Path, meta: ModuleMeta) -> None:
        """One module of the nn.Module saved at `root`."""
        self._modules.setdefault(root, {})[meta.path] = meta

    def take(self, path: Path, owner: Path | None) -> str:
        """Count the tensor at `path` to its state dict; the name that it has there."""
        root = path[:-1] if owner is None else owner
        if owner is not None:
            key = dotted(path[len(owner) :])
        elif path and root in self._versions:
            key = str(path[-1])
        else:
            place = _extra_state(path) or 0
            root, key = path[:place], dotted(path[place:])
        keys = self._keys.get(root)
        if keys is None:
            keys = self._keys[root] = []
        keys.append(key)
        return key

    def settle(self) -> None:
        """Write the state dicts to the draft, in the order of the file."""
        for root in (*self._modules, *self._optimizers):
            self._keys.setdefault(root, [])
        around = _ancestors(self._keys)
        for root, keys in self._keys.items():
            role = self._role(root, keys, root in around)
            modules = self._modules.get(root, {})
            if not modules and role in ("model", "ema"):
                modules = modules_of(keys, self._versions.get(root, {}))
            self._draft.state_dicts.append(StateDict(root, role, modules))

    def _role(self, root: Path, keys: list[str], holds_others: bool) -> Role:
        names = dotted(root)
        if root in self._optimizers or _OPTIMIZER.search(names):
            return "optimizer"
        certain = root in self._modules or bool(self._versions.get(root))
        named = root in self._versions and any(self._is_parameter((*root, key)) for key in keys)
        if (not certain and (holds_others or not named)) or (root and not keys):
            return "other"
        return "ema" if _EMA.search(names) else "model"

    def _is_parameter(self, path: Path) -> bool:
        tensor = self._draft.tensors.get(path)
        return tensor is not None and tensor.shape != () and _is_parameter_name(str(path[-1]))


def dotted(path: Path) -> str:
    """A path as one name. Where that would be very long, each part of it is cut."""
    if sum(len(part) if type(part) is str else 1 for part in path) > _LONGEST:
        path = tuple(part[:_PART] if type(part) is str else part for part in path)
    return ".".join(map(str, path))


def _ancestors(roots: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    for root in roots:
        while root and root[:-1] not in found:
            root = root[:-1]
            found.add(root)
    return found


def _is_parameter_name(key: str) -> bool:
    """Whether a module could call a tensor so: `weight`, or `layer.0.gain`, but no file name or number."""
    *above, own = key.split(".", _DEEPEST)
    if own in _PARAMETER_NAMES:
        return True
    return own.isidentifier() and bool(above) and all(map(_PART_OF_NAME, above))


def modules_of(keys: Iterable[str], versions: Mapping[str, int | None]) -> dict[str, ModuleMeta]:
    """The modules that a state dict names: those of its `_metadata`, else every prefix of a key.

    A module without tensors is only known from `_metadata`; safetensors has none.
    """
    modules = {
        name: _new(ModuleMeta, (name, None, None, None, version, *_REST))
        for name, version in versions.items()
    }
    modules.setdefault("", ModuleMeta(""))
    for key in keys:
        prefix = key.rpartition(".")[0]
        if prefix in modules or (len(key) > _LONG_KEY and key.count(".") > _DEEPEST):
            continue  # known, or a name made to be taken apart forever
        missing = [prefix]
        while (prefix := prefix.rpartition(".")[0]) not in modules:
            missing.append(prefix)
        for name in reversed(missing):
            modules[name] = _new(ModuleMeta, (name, None, None, None, None, *_REST))
    return modules


def _extra_state(path: Path) -> int | None:
    """Where in a path the extra state of a module hangs: a part of its state dict, and none by itself."""
    for place, part in enumerate(path):
        if type(part) is str and part.endswith("_extra_state"):
            return place
    return None
