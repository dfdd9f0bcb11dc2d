"""The attributes of a module in a pickle: its plain settings, its hooks, and what is neither.

All of it is looked at once for each object, however many ways lead to it: a file has 20,000 modules.
"""

from __future__ import annotations

from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ckptaudit.model import Hook, ModuleMeta
from ckptaudit.readers.pickle.containers import INTERNALS, attributes_of, class_of, items_of, pairs_of
from ckptaudit.readers.pickle.instances import is_getattr
from ckptaudit.readers.pickle.leaves import plain, spelt
from ckptaudit.readers.pickle.symbols import Call, Global

_SCALARS = (type(None), bool, int, float, str)
_MANY: Final = 200  # attributes of one kind that are kept of one module
_LONG: Final = 16  # values of one setting
_LONG_NAME: Final = 200
_NOTHING: Final[dict[str, object]] = {}
_HOOKS: Final = {
    "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_forward_hooks": "forward hook",
    "_forward_pre_hooks": "forward pre-hook",
    "_state_dict_hooks": "state dict hook",
    "_state_dict_pre_hooks": "state dict pre-hook",
    "_load_state_dict_pre_hooks": "loading pre-hook",
    "_load_state_dict_post_hooks": "loading hook",
}


class Attributes(NamedTuple):
    """What `module_meta` tells of one object, whatever it is called."""

    config: dict[str, object]
    private: dict[str, object]
    hooks: tuple[Hook, ...]
    odd: tuple[str, ...]


def module_meta(name: str, value: Any, state: dict[Any, Any], alias: str | None = None) -> ModuleMeta:
    """What a module's own attributes tell: class, plain settings, hooks, training flag.

    `alias` is the path at which the same object hangs first, where this is not the first.
    """
    if value.looked_at is None:
        value.looked_at = _look(state)
    found: Attributes = value.looked_at
    training = state.get("training")
    flag = training if type(training) is bool else None
    return ModuleMeta(
        name,
        class_of(value),
        found.config,
        flag,
        None,
        found.hooks,
        found.odd,
        MappingProxyType(found.private),
        alias,
    )


def _look(state: dict[Any, Any]) -> Attributes:
    config: dict[str, object] = {}
    private: dict[str, object] | None = None
    odd: list[str] = []
    for key, part in state.items():
        if type(key) is not str or key in INTERNALS or key == "training":
            continue
        if not _is_setting(part):
            if not _is_tensor(part) and len(odd) < _MANY:
                odd.append(key[:_LONG_NAME])
        elif not key.startswith("_"):
            if len(config) < _MANY:
                config[key] = _setting(part)
                if _is_name(part) and len(odd) < _MANY:
                    odd.append(key[:_LONG_NAME])
        else:
            private = {} if private is None else private
            if len(private) < _MANY:
                private[key] = _setting(part)
    transient = state.get("_non_persistent_buffers_set")
    # Below protocol 4 a set is a call on a list.
    names = sorted(spelt(part) for part in islice(items_of(transient), _MANY)) if transient else []
    if names:
        config["non_persistent_buffers"] = names
    return Attributes(config, _NOTHING if private is None else private, _hooks(state), tuple(odd))


def _is_setting(value: Any) -> bool:
    kind = type(value)
    if kind in (tuple, list):
        return len(value) <= _LONG and all(type(part) in _SCALARS for part in value)
    return kind in _SCALARS or kind is Global or (kind is Call and _simple(value) is not None)


def _setting(value: Any) -> object:
    """A plain value, with tuples as tuples: torch tells (3, 3) from [3, 3]."""
    if type(value) is Call:
        value = _simple(value)
    return tuple(map(plain, value)) if type(value) is tuple else plain(value)


def _is_name(value: Any) -> bool:
    """Whether a setting stands for a function or a class, of which `config` keeps the name."""
    return type(value) is Global or (type(value) is Call and is_getattr(value))


def _simple(call: Call) -> tuple[int, ...] | str | None:
    """The numbers of `torch.Size((2, 3))`, a tuple of torch's own; the name of a function of torch in C."""
    func, args = call.func, call.args
    if is_getattr(call) and type(args[0]) is Global:
        return f"{plain(args[0])}.{args[1][:_LONG_NAME]}"
    if type(func) is not Global or (func.module, func.name) != ("torch", "Size"):
        return None
    sizes: Any = args[0] if type(args) is tuple and len(args) == 1 else None
    if type(sizes) not in (tuple, list) or len(sizes) > _LONG or any(type(size) is not int for size in sizes):
        return None
    return tuple(sizes)


def _is_tensor(value: Any) -> bool:
    func = value.func if type(value) is Call else None
    return type(func) is Global and func.module.startswith("torch") and func.name.startswith("_rebuild_")


def _hooks(state: dict[Any, Any]) -> tuple[Hook, ...]:
    found: list[Hook] = []
    for slot, kind in _HOOKS.items():
        held = state.get(slot)
        # An empty OrderedDict is a call on nothing.
        if held and not (type(held) is Call and held.pairs is None):
            for hook in islice((pairs_of(held) or {}).values(), _MANY - len(found)):
                found.append(_hook(kind, hook))
    return tuple(found)


def _hook(kind: str, hook: Any) -> Hook:
    """What is called: a function by its dotted name, a method by its own, an object by its class."""
    attributes = attributes_of(hook)
    if (class_of(hook) or "").endswith("._WrappedHook"):  # torch.nn.modules.module
        hook = attributes.get("hook")
        attributes = attributes_of(hook)
    if type(hook) is Call and is_getattr(hook):
        return Hook(kind, hook.args[1][:_LONG_NAME])
    name = class_of(hook) or str(plain(hook))
    settings = {
        key: _setting(part)
        for key, part in islice(attributes.items(), _LONG)
        if type(key) is str and _is_setting(part)
    }
    return Hook(kind, name[: 2 * _LONG_NAME], settings)
