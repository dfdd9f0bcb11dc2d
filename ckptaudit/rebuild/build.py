"""Makes the nn.Module of a plan, on the meta device: no memory is taken, and nothing of the file runs.

Needs torch. Where a layer does not fit the tensors that the file has for it, or does not allow their names, a
`Skeleton` takes its place, so that loading the state dict strictly succeeds whatever is in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.construct import UnbuildableError, construct, wrap
from ckptaudit.rebuild.fill import fill
from ckptaudit.rebuild.known import needs
from ckptaudit.rebuild.places import Places, places
from ckptaudit.rebuild.plan import Part, Plan
from ckptaudit.rebuild.register import Held, free, misfit, register, set_settings

if TYPE_CHECKING:
    import torch

__all__ = ("build", "cannot_run", "fill")

_NO_FORWARD = ("Module", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")


def build(plan: Plan) -> torch.nn.Module:
    """The module that `plan` describes, with its parameters on the meta device.

    Its state dict has the keys and shapes of the plan, whatever they are.
    """

    module: torch.nn.Module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zero-sized tensors, and of old wrappers
        module = _Builder(plan, places(plan)).module()
        if not _has_the_keys(module, plan):
            module = _Builder(plan, places(plan, aliases=False), bare=True).module()
    return module


def _has_the_keys(module: Any, plan: Plan) -> bool:
    try:
        held = module.state_dict(keep_vars=True)
    except RecursionError:  # modules that are told to hang in each other
        return False
    return set(held) == plan.tensors.keys() | plan.extra.keys()


@dataclass(slots=True)
class _Builder:
    plan: Plan
    places: Places
    bare: bool = False

    def module(self) -> Any:
        """The model. Children are made before what they hang in: some layers are made of theirs."""
        own = self.places
        made: dict[str, Any] = {}
        whole: dict[str, Any] = {}  # made with all that is below them
        for path in reversed(list(own.parts)):
            if path not in own.same:
                made[path], complete = self._made(path, made)
                if complete:
                    whole[path] = made[path]
        for path in own.parts:
            if path not in own.same and path not in whole:
                below = {name: made[own.same.get(at, at)] for name, at in self._below(path)}
                _hang(made[path], below)
        return made[""]

    def _below(self, path: str) -> Iterator[tuple[str, str]]:
        yield from self.places.children.get(path, {}).items()

    def _made(self, path: str, made: Mapping[str, Any]) -> tuple[Any, bool]:
        """The module at `path`, without the children of the plan; whether it has made them all itself."""
        part = self.places.parts[path]
        held = Held(self._rows(path, self.places.tensors), self._rows(path, self.places.unsaved))
        children = self.places.children.get(path, {})
        reason = ""
        if part.layer is not None and not self.bare:
            if _are_registrable(children, held.rows) and path not in self.places.extra:
                try:
                    return self._constructed(part, held, made)
                except UnbuildableError as error:
                    reason = str(error)
            else:
                reason = f"{part.layer} cannot have the names that the file gives"
        return self._skeleton(part, held, reason), False

    def _rows(self, path: str, kept: Mapping[str, Mapping[str, str]]) -> dict[str, TensorMeta]:
        rows = self.plan.tensors if kept is self.places.tensors else self.plan.unsaved
        return {name: rows[key] for name, key in kept.get(path, {}).items()}

    def _constructed(self, part: Part, held: Held, made: Mapping[str, Any]) -> tuple[Any, bool]:
        from ckptaudit.rebuild.modules import refuse

        layer = part.layer or ""
        # A list of parameters has whatever is put into it.
        exact = part.cls is not None or layer in ("ParameterList", "ParameterDict")
        rows = held.rows if exact else self._all_rows(part.path)
        module = self._layer(part, rows, made)
        wrong = None if exact else misfit(module, rows)
        if wrong is not None:
            raise UnbuildableError(f"no {layer} after all: {wrong}")
        register(module, held if exact else Held(rows, held.unsaved), exact)
        set_settings(module, part)
        if part.unknown:
            module.forward = refuse(layer, part.unknown)
        return module, not exact

    def _layer(self, part: Part, rows: Mapping[str, TensorMeta], made: Mapping[str, Any]) -> Any:
        """The layer as its constructor makes it, and what is put around its parameters."""
        import torch

        from ckptaudit.rebuild.modules import Uninitialized

        layer = part.layer or ""
        untold = [name for name in part.unknown if name not in part.arguments and needs(layer, name)]
        if untold:
            raise UnbuildableError(f"{layer}: the checkpoint does not tell {', '.join(untold)}")
        prefix = f"{part.path}." if part.path else ""
        first = {name: self._first(prefix + name) for name in ("layers.0", "norm", "encoder", "decoder")}
        below = {name: made[at] for name, at in first.items() if at in made}
        most = len(rows) + self._inside(part.path)
        with torch.device("meta"), Uninitialized():
            module = construct(layer, part.arguments, most, below)
            for wrapper, parameter in part.wrappers:
                wrap(module, wrapper, parameter, {name: row.shape for name, row in rows.items()})
        return module

    def _inside(self, path: str) -> int:
        """How many modules hang in it, three levels deep, as the layers of a Transformer's encoder do.

        A number of layers in the file may say anything.
        """
        count, here = 0, [path]
        for _ in range(3):
            here = [at for above in here for _, at in self._below(above)]
            count += len(here)
        return count

    def _first(self, path: str) -> str:
        return self.places.same.get(path, path)

    def _all_rows(self, path: str) -> dict[str, TensorMeta]:
        """The tensors at a path and below, by dotted names from there."""
        found: dict[str, TensorMeta] = {}
        todo = [(path, "")]
        while todo:
            at, prefix = todo.pop()
            held = self._rows(at, self.places.tensors)
            found.update((prefix + name, row) for name, row in held.items())
            todo += [(below, f"{prefix}{name}.") for name, below in self._below(at)]
        return found

    def _skeleton(self, part: Part, held: Held, reason: str) -> Any:
        from ckptaudit.rebuild.modules import Skeleton, hold

        module = Skeleton(part.cls, reason)
        register(module, held, exact=True)
        hold(module, self.places.extra.get(part.path, {}))
        set_settings(module, part)
        return module


def _are_registrable(children: Iterable[str], tensors: Iterable[str]) -> bool:
    """Whether a class of torch.nn can have children and tensors of these names."""
    import torch

    own = torch.nn.Module()
    names = [*children, *tensors]
    plain = len(set(names)) == len(names) and all(name and "." not in name for name in names)
    return plain and not any(hasattr(own, name) or name == "_extra_state" for name in tensors)


def _hang(module: Any, children: Mapping[str, Any]) -> None:
    """Give `module` exactly these children."""
    module._modules.clear()
    for name, child in children.items():
        free(module, name)  # of a plain attribute: `activation`, `norm`
        module._modules[name] = child


def cannot_run(module: torch.nn.Module) -> tuple[str, ...]:
    """Why the forward of what `build` made cannot run; empty where it can."""
    from ckptaudit.rebuild.modules import Refusal, Skeleton, refusal_of

    found: dict[str, list[str]] = {}
    modules = dict(module.named_modules())
    called = {path for path in modules if not path or _is_called(modules, path)}
    for path, child in modules.items():
        refusal = child.__dict__.get("forward")
        if isinstance(child, Skeleton):
            found.setdefault(refusal_of(child), []).append(path)
        elif isinstance(refusal, Refusal):
            found.setdefault(refusal.reason, []).append(path)
        elif path in called and type(child).__name__ in _NO_FORWARD:
            found.setdefault(f"{type(child).__name__} has no forward", []).append(path)
    return tuple(_told(reason, paths) for reason, paths in found.items())


def _is_called(modules: Mapping[str, Any], path: str) -> bool:
    """Whether torch itself calls the module: one in a Sequential."""
    return type(modules.get(path.rpartition(".")[0])).__name__ == "Sequential"


def _told(reason: str, paths: list[str]) -> str:
    first = paths[0] or "the model"
    return f"{first}: {reason}" if len(paths) == 1 else f"{first} and {len(paths) - 1} more: {reason}"
