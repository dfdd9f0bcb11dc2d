"""What holds other values in a pickle: mappings, sequences, modules, and objects with attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ckptaudit.readers.pickle.leaves import spelt
from ckptaudit.readers.pickle.symbols import Call, Global

_SEQUENCES = (list, tuple, set, frozenset)
# What torch.nn.Module, and its recurrent layers, keep for themselves.
INTERNALS = frozenset(
    {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}
    | {"_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks"}
    | {"_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"}
    | {"_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_all_weights"}
    | {"_load_state_dict_post_hooks", "_flat_weights", "_flat_weights_names", "_flat_weight_refs"}
)
_MODULE_STATE = ("_modules", "_parameters", "_buffers")


def pairs_of(value: Any) -> dict[Any, Any] | None:
    """The items of a dict, an OrderedDict, or any other mapping built by a call; None for all else."""
    if type(value) is dict:
        return value
    if type(value) is not Call:
        return None
    if value.pairs is not None:
        return value.pairs
    func = value.func
    if type(func) is Global and func.name in ("OrderedDict", "dict", "defaultdict", "Counter"):
        return _from_arguments(value.args)
    return None


def _from_arguments(args: Any) -> dict[Any, Any]:
    # Python 2 wrote OrderedDict([[key, value], ...]); Counter and dict take a mapping.
    made: dict[Any, Any] = {}
    given = args[-1] if type(args) is tuple and args else None
    if type(given) is dict:
        return given
    for pair in given if isinstance(given, (list, tuple)) else ():
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and type(pair[0]) in (str, int):
            made[pair[0]] = pair[1]
    return made


def items_of(value: Any) -> Iterable[Any]:
    """The members of a list, tuple or set, or the positional parts that an object was built from."""
    if type(value) in _SEQUENCES:
        members: Iterable[Any] = value
    elif type(value) is not Call:
        members = ()
    elif value.items is not None:
        members = value.items
    elif _is_array(value):
        members = _objects_of(value)
    else:
        members = value.args if type(value.args) is tuple else ()
        for state in value.state or ():
            if type(state) in (tuple, list) and not any(pairs_of(part) is not None for part in state):
                members = (*members, *state)  # the state of an object written in C
        if value.state is None and len(members) == 1 and type(members[0]) in (list, tuple):
            members = members[0]
    return members


def _is_array(value: Call) -> bool:
    return type(value.func) is Global and value.func.module.startswith("numpy")


def _objects_of(array: Call) -> Iterable[Any]:
    # The state of a numpy array: (version, shape, dtype, fortran order, bytes or a list of objects).
    state = array.state[-1] if array.state else None
    return state[4] if type(state) is tuple and len(state) == 5 and type(state[4]) is list else ()


def attributes_of(value: object) -> dict[Any, Any]:
    """The attributes that BUILD sets on an object: its state dict, and its slots."""
    if type(value) is not Call or not value.state or _is_array(value):
        return {}
    if value.attributes is None:
        made: dict[Any, Any] = {}
        for state in value.state:
            for part in state if type(state) is tuple and len(state) == 2 else (state,):
                made.update(pairs_of(part) or {})
        value.attributes = made
    return value.attributes


def versions_of(value: Any) -> dict[str, int | None]:
    """The `_metadata` that torch keeps on a state dict: the version of every module by name."""
    found: dict[str, int | None] = {}
    for name, entry in (pairs_of(attributes_of(value).get("_metadata")) or {}).items():
        version = entry.get("version") if type(entry) is dict else None
        small = type(version) is int and version.bit_length() <= 64
        found[name if type(name) is str else spelt(name)] = version if small else None
    return found


def module_state(value: Any) -> dict[Any, Any] | None:
    """The attributes of an nn.Module; None for any other value."""
    if type(value) is not Call or not value.state:
        return None
    state = attributes_of(value)
    return state if all(name in state for name in _MODULE_STATE) else None


def class_of(value: Any) -> str | None:
    """The dotted class that an object was made from; None where a call made it."""
    if type(value) is not Call:
        return None
    func: Any = value.func
    if (
        type(func) is Global
        and func.module in ("copyreg", "copy_reg")
        and type(value.args) is tuple
        and value.args
    ):
        func = value.args[0]  # copyreg._reconstructor(cls, object, None)
    return f"{func.module}.{func.name}" if type(func) is Global else None


def entries(state: dict[Any, Any], slot: str) -> Iterator[tuple[str, Any]]:
    """The entries of `_modules`, `_parameters` or `_buffers` that are set, by name."""
    for name, value in (pairs_of(state.get(slot)) or {}).items():
        if value is not None:
            yield name if type(name) is str else spelt(name), value


def other_attributes(value: object, state: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """What a module keeps besides its registered parts, which torch's classes repeat in private ones."""
    own = not (class_of(value) or "").startswith("torch.nn.")
    for name, part in state.items():
        if type(name) is str and not (name.startswith("_") and (own is False or name in INTERNALS)):
            yield name, part
