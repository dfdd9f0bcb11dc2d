"""The plan of a file that holds modules with their classes: torch.nn's with the arguments that make them.

A module in a pickle has the attributes that it was saved with, so the arguments of its constructor are read
off them. TorchScript keeps those that its compiler understands; a trace keeps none, and an exported program
those of the operators: what is missing there is `unknown`, or, where no output hangs on it, keeps the plan
from being an exact one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from ckptaudit.model import Checkpoint, ModuleMeta, TensorMeta
from ckptaudit.rebuild.arguments import Arguments, Own, arguments_of, made_of
from ckptaudit.rebuild.exported import keeps_inplace, of_operator, sizes_of, with_modes
from ckptaudit.rebuild.known import layer_of
from ckptaudit.rebuild.plan import Level, Part, Plan
from ckptaudit.rebuild.skeleton import tied
from ckptaudit.saved import Saved
from ckptaudit.summary import members

_UTILS: Final = "torch.nn.utils."
# Hooks that torch's own layers and wrappers bring along, and the attributes that hold them.
_OWN_HOOKS: Final = ("_infer_parameters", "_lazy_load_hook")
_OWN_ODD: Final = ("_load_hook", "_initialize_hook", "_keys", "_flat_weight_refs")
# What torch.nn's constructors make of their arguments under private names.
_OWN_PRIVATE: Final = ("_qkv_same_embed_dim", "_reversed_padding_repeated_twice", "_padding_repeated_twice")
_EXPORTED: Final = "torch-export"
_PARTIAL: Final = ("torchscript", _EXPORTED)


def plan_exact(checkpoint: Checkpoint, own: Saved) -> Plan:
    """What is to be built for the module in `checkpoint` whose state dict would be `own`."""
    modules = _registered(own.modules, checkpoint.format)
    unsaved = _unsaved(checkpoint, own, modules)
    held = _by_owner({**own.tensors, **unsaved})
    if checkpoint.format == _EXPORTED:
        modules = with_modes(modules, held)
    parts: dict[str, Part] = {}
    loose: set[str] = set()
    # What a layer is made of tells some of its arguments, and comes after it.
    for path in reversed(modules):
        each = Own(path, modules[path], held.get(path, {}), parts)
        parts[path], untold = _part(_told(each, checkpoint.format))
        loose.update(untold)
    if keeps_inplace(modules.values()):
        loose.discard("inplace")
    parts = {path: parts[path] for path in modules}
    root = modules[""].cls
    return Plan(
        checkpoint=checkpoint.path,
        name=root.rpartition(".")[2] if root else "Model",
        level="typed skeleton" if loose else _level(parts),
        parts=parts,
        tensors=own.tensors,
        unsaved=unsaved,
        ties=tied(checkpoint, own.tensors),
    )


def _level(parts: Mapping[str, Part]) -> Level:
    classes = [part for part in parts.values() if part.cls is not None]
    if not classes or any(part.unknown for part in classes):
        return "typed skeleton"
    return "exact config"


def _registered(modules: Mapping[str, ModuleMeta], format: str) -> dict[str, ModuleMeta]:
    """The modules that hang in modules all the way down, each after the one around it.

    One that hangs in a plain list is none that nn.Module knows.
    """
    found = {"": modules.get("", ModuleMeta(""))}
    for path in sorted(modules, key=_by_depth) if format == _EXPORTED else modules:
        if path.rpartition(".")[0] in found:
            found[path] = modules[path]
    return found


def _by_depth(path: str) -> tuple[int, int]:
    """A graph lists modules as they are called; numbered ones stand in the order of their numbers."""
    name = path.rpartition(".")[2]
    return path.count("."), int(name) if name.isdecimal() and len(name) < 10 else 0


def _unsaved(checkpoint: Checkpoint, own: Saved, modules: Mapping[str, ModuleMeta]) -> dict[str, TensorMeta]:
    """Tensors that the model owns and no state dict of it holds."""
    rows = members(checkpoint).get(own.root, ()) if own.root is not None else ()
    return {
        row.key: row
        for row in rows
        if row.key not in own.tensors and (row.key.rpartition(".")[0] in modules or row.key in own.lost)
    }


def _by_owner(rows: Mapping[str, TensorMeta]) -> dict[str, dict[str, TensorMeta]]:
    found: dict[str, dict[str, TensorMeta]] = {}
    for key, row in rows.items():
        owner, _, name = key.rpartition(".")
        found.setdefault(owner, {})[name] = row
    return found


def _part(own: Own) -> tuple[Part, tuple[str, ...]]:
    """The part that a module is, and its arguments that are not told and change no output."""
    meta = own.meta
    layer = layer_of(meta.cls)
    hooks = tuple(
        f"{hook.kind} {hook.name}"
        for hook in meta.hooks
        if hook.name not in _OWN_HOOKS and not hook.name.startswith(_UTILS)
    )
    part = Part(
        own.path,
        layer,
        meta.cls,
        training=meta.training,
        hooks=hooks,
        odd=meta.odd,
        alias=meta.alias,
    )
    if layer is None:
        return part._replace(settings=_plain(meta)), ()
    found = arguments_of(layer, own)
    return _made(part, layer, own, found), found.loose


def _made(part: Part, layer: str, own: Own, found: Arguments) -> Part:
    meta = own.meta
    return part._replace(
        confidence="certain",
        arguments=found.values,
        unknown=found.unknown,
        wrappers=tuple(_wrappers(meta)),
        settings=_left(layer, own, found.used),
        odd=tuple(
            name
            for name in meta.odd
            if name not in _OWN_ODD and name not in found.used and own.child(name) is None
        ),
    )


def _told(own: Own, format: str) -> Own:
    """A module of a file that does not keep its attributes, with those that its tensors and operator tell."""
    layer = layer_of(own.meta.cls)
    if format not in _PARTIAL:
        return own
    told = of_operator(layer, own.meta) if layer is not None and format == _EXPORTED else None
    # What an exported program keeps of a module are arguments of operators, and no attributes.
    kept: Mapping[str, object] = {} if format == _EXPORTED else own.config
    if layer is None:
        return own if format != _EXPORTED else replace(own, meta=own.meta._replace(config={}, private={}))
    config = {**sizes_of(layer, own.tensors), **(kept if told is None else told.config)}
    config, channels = _channels(layer, config, kept, told is not None)
    return replace(
        own,
        meta=own.meta._replace(config=config, private={}),
        partial=told is None,
        open=(*(told.open if told else ()), *channels),
        loose=told.loose if told else (),
    )


def _channels(
    layer: str, config: dict[str, object], kept: Mapping[str, object], whole: bool
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The attributes with the channels that a weight has one group of, and those that it does not tell.

    Where the number of groups is not known, the channels are those of a single one, and open.
    """
    inner = "out_channels" if "Transpose" in layer else "in_channels"
    size, groups = config.get(inner), config.get("groups", 1 if whole else None)
    if not layer.startswith("Conv") or inner in kept or not isinstance(size, int):
        return config, ()
    if not isinstance(groups, int):
        return config, (inner,)
    return {**config, inner: size * groups}, ()


def _plain(meta: ModuleMeta) -> dict[str, object]:
    """Attributes of the user's own class that are plain values."""
    config = {name: value for name, value in (meta.config or {}).items() if name not in meta.odd}
    config.pop("non_persistent_buffers", None)
    return {**config, **meta.private}


def _left(layer: str, own: Own, used: frozenset[str]) -> dict[str, object]:
    """Attributes that the constructor does not make, or makes otherwise."""
    made = made_of(layer, own)
    return {
        name: value
        for name, value in _plain(own.meta).items()
        if name not in used
        and not (name in _OWN_PRIVATE and _is_as_made(name, value, own.meta.config or {}))
        and not (name in made and (made[name] is ... or made[name] == value))
    }


def _is_as_made(name: str, value: object, config: Mapping[str, object]) -> bool:
    """Whether a private attribute is what the constructor makes of the others, as far as that is known."""
    padding = config.get("padding")
    if name != "_reversed_padding_repeated_twice" or not isinstance(padding, list | tuple):
        return True
    twice = [size for size in reversed(padding) for _ in range(2)]
    return isinstance(value, list | tuple) and list(value) == twice


def _wrappers(meta: ModuleMeta) -> Iterator[tuple[str, str]]:
    """What torch.nn.utils put around parameters by a hook, as (wrapper, parameter)."""
    for hook in meta.hooks:
        if not hook.name.startswith(_UTILS) or hook.kind != "forward pre-hook":
            continue
        parameter = hook.settings.get("name", hook.settings.get("_tensor_name"))
        if isinstance(parameter, str):
            yield _wrapper(hook.name, hook.settings), parameter


def _wrapper(name: str, settings: Mapping[str, object]) -> str:
    kind = name.removeprefix(_UTILS).partition(".")[0]
    if kind != "spectral_norm":
        return kind
    told = {key: settings[key] for key in ("n_power_iterations", "eps") if key in settings}
    more = ", ".join(f"{key}={value!r}" for key, value in told.items() if (key, value) not in _SPECTRAL)
    return f"{kind}({more})" if more else kind


_SPECTRAL: Final = (("n_power_iterations", 1), ("eps", 1e-12))
