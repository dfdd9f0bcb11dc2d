"""Which of the mappings in a saved object are state dicts, whose they are, and what modules they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ckptaudit.model import ModuleMeta, Path, Role, StateDict, TensorMeta
from ckptaudit.readers.draft import Draft

_EMA = re.compile(r"(^|[_.\-])(ema|swa|averaged?|shadow)($|[_.\-])|_ema|ema_", re.IGNORECASE)
_OPTIMIZER = re.compile(r"optim", re.IGNORECASE)
# The names that torch.nn's own modules give their tensors: a mapping that uses one is a state dict.
_PARAMETER_NAMES = frozenset(
    {"weight", "bias", "weight_g", "weight_v", "in_proj_weight", "in_proj_bias", "weight_ih", "weight_hh"}
    | {"weight_ih_l0", "weight_hh_l0", "running_mean", "running_var", "num_batches_tracked"}
)

_LONG_KEY, _DEEPEST = 1000, 100


class Roots:
    """The mappings, modules and optimizers met on the walk; `settle` makes StateDicts of them."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._versions: dict[Path, Mapping[str, int | None]] = {}
        self._optimizers: set[Path] = set()
        self._modules: dict[Path, dict[str, ModuleMeta]] = {}

    def mapping(self, path: Path, versions: Mapping[str, int | None]) -> None:
        """A mapping at `path`; `versions` is its `_metadata`: the version of each module by name."""
        self._versions[path] = versions

    def optimizer(self, path: Path) -> None:
        """A mapping at `path` that has an optimizer's `state` and `param_groups`."""
        self._optimizers.add(path)

    def module(self, root: Path, meta: ModuleMeta) -> None:
        """One module of the nn.Module saved at `root`."""
        self._modules.setdefault(root, {})[meta.path] = meta

    def key(self, path: Path, owner: Path | None) -> str:
        """The name of the tensor at `path` inside its state dict."""
        if owner is None and path and path[:-1] in self._versions:
            name = path[-1]
            return name if type(name) is str else str(name)
        return ".".join(map(str, path[len(owner or ()) :]))

    def settle(self) -> None:
        """Write the state dicts to the draft, in the order of the file."""
        groups: dict[Path, list[TensorMeta]] = {}
        for path, tensor in self._draft.tensors.items():
            root = path[:-1]
            if root not in self._versions:
                root = self._root_of(path)
            if root in groups:
                groups[root].append(tensor)
            else:
                groups[root] = [tensor]
        for root in (*self._modules, *self._optimizers):
            groups.setdefault(root, [])
        around = {root[:end] for root in groups for end in range(len(root))}
        for root, tensors in groups.items():
            role = self._role(root, tensors, root in around)
            modules = self._modules.get(root, {})
            if not modules and role in ("model", "ema"):
                modules = modules_of((tensor.key for tensor in tensors), self._versions.get(root, {}))
            self._draft.state_dicts.append(StateDict(root, role, modules))

    def _root_of(self, path: Path) -> Path:
        for end in range(len(path) - 1, -1, -1):
            if path[:end] in self._modules or path[:end] in self._optimizers:
                return path[:end]
        return ()

    def _role(self, root: Path, tensors: list[TensorMeta], holds_others: bool) -> Role:
        names = ".".join(map(str, root))
        if root in self._optimizers or _OPTIMIZER.search(names):
            return "optimizer"
        certain = root in self._modules or bool(self._versions.get(root))
        named = root in self._versions and any(_is_parameter_name(tensor.key) for tensor in tensors)
        if not certain and (holds_others or not named):
            return "other"
        return "ema" if _EMA.search(names) else "model"


def _is_parameter_name(key: str) -> bool:
    return "." in key or key in _PARAMETER_NAMES


def modules_of(keys: Iterable[str], versions: Mapping[str, int | None]) -> dict[str, ModuleMeta]:
    """The modules that a state dict names: those of its `_metadata`, else every prefix of a key.

    A module without tensors is only known from `_metadata`; safetensors has none.
    """
    modules = {name: ModuleMeta(name, version=version) for name, version in versions.items()}
    modules.setdefault("", ModuleMeta(""))
    for key in keys:
        if len(key) > _LONG_KEY and key.count(".") > _DEEPEST:
            continue  # a name made to be taken apart forever
        prefix = key.rpartition(".")[0]
        if prefix in modules:
            continue
        missing = []
        while prefix not in modules:
            missing.append(prefix)
            prefix = prefix.rpartition(".")[0]
        for name in reversed(missing):
            modules[name] = tuple.__new__(ModuleMeta, (name, None, None, None, None))
    return modules
