"""What the graph of an exported program tells: which inputs are parameters and buffers, and its modules.

The JSON follows torch/_export/serde/schema.py of torch 2.13 (schema version 8) and its older forms. A
node's `nn_module_stack` lists the modules around it, outermost first, as `key,path,class` joined by
semicolons. A module without submodules and with a single operator is described by that
operator's constant arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ckptaudit.model import Kind, ModuleMeta
from ckptaudit.readers.statedicts import modules_of

_KINDS: Final[tuple[Kind, ...]] = ("parameter", "buffer")
_PLAIN: Final = tuple(f"as_{kind}{many}" for kind in ("int", "float", "bool", "string") for many in ("", "s"))
_SCALARS: Final = (int, float, bool, str)
_LONG: Final = 16  # values of one setting
_TRAINING: Final = ("training", "train")  # the names that operators give the mode
_CLASS: Final = re.compile(r"<class '(.*)'>")  # torch 2.1 wrote the repr of the class
_AGAIN: Final = re.compile(r"@\d+$")  # a module's second call has its own path


def signature_of(program: Any) -> dict[str, Kind]:
    """The parameters and buffers that the program takes, by name."""
    found: dict[str, Kind] = {}
    for spec in _specs(program):
        for kind in _KINDS:
            name = _at(spec, kind, f"{kind}_name")
            if type(name) is str:
                found[name] = kind
    return found


def modules_in(program: Any, keys: Iterable[str]) -> dict[str, ModuleMeta]:
    """The modules that the names of tensors, `keys`, and the graph's nodes tell, by path."""
    modules = {"": ModuleMeta("")}  # in the order in which they are called
    operators: dict[str, list[tuple[object, Mapping[str, object]]]] = {}
    for node in _nodes(_at(program, "graph_module", "graph")):
        stack = _module_stack(_at(node, "metadata", "nn_module_stack"))
        for path, cls in stack:
            modules[path] = modules.get(path, ModuleMeta(path))._replace(cls=cls)
        if stack:
            operators.setdefault(stack[-1][0], []).append((_at(node, "target"), _constants(node)))
    modules |= {path: meta for path, meta in modules_of(keys, {}).items() if path not in modules}
    parents = {path.rpartition(".")[0] for path in modules if path}
    for path, calls in operators.items():
        operator, settings = calls[0]
        if path not in parents and all(other == settings for _, other in calls[1:]):
            modules[path] = _configured(modules[path], settings)
            if type(operator) is str and all(other == operator for other, _ in calls[1:]):
                modules[path] = modules[path]._replace(private={"operator": operator})
    for owner, names in _transient(program).items():
        module = modules.get(owner, ModuleMeta(owner))
        modules[owner] = module._replace(
            config={**(module.config or {}), "non_persistent_buffers": sorted(names)}
        )
    return modules


def _transient(program: Any) -> dict[str, set[str]]:
    """The buffers of the signature that no state dict holds, by the module that has them."""
    found: dict[str, set[str]] = {}
    for spec in _specs(program):
        key = _at(spec, "buffer", "buffer_name")
        if _at(spec, "buffer", "persistent") is False and type(key) is str:
            owner, _, name = key.rpartition(".")
            found.setdefault(owner, set()).add(name)
    return found


def _specs(program: Any) -> list[Any]:
    return _list(_at(program, "graph_module", "signature", "input_specs"))


def _configured(module: ModuleMeta, settings: Mapping[str, object]) -> ModuleMeta:
    config = {name: value for name, value in settings.items() if name not in _TRAINING}
    mode = next((settings[name] for name in _TRAINING if type(settings.get(name)) is bool), None)
    return module._replace(config=config, training=mode if type(mode) is bool else None)


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of the graphs that control flow takes as arguments after those around them."""
    todo = [graph]
    while todo:
        for node in _list(_at(todo.pop(), "nodes")):
            yield node
            for given in _list(_at(node, "inputs")):
                inner = _at(given, "arg", "as_graph", "graph")
                if inner is not None:
                    todo.append(inner)


def _module_stack(text: Any) -> list[tuple[str, str]]:
    """(path, class) of each module around a node, outermost first."""
    found = []
    for entry in text.split(";") if type(text) is str else ():
        parts = entry.split(",", 2)
        if len(parts) == 3:
            path = _AGAIN.sub("", parts[1].removeprefix("L['self']").lstrip("."))
            cls = _CLASS.fullmatch(parts[2])
            found.append((path, cls[1] if cls else parts[2]))
    return found


def _constants(node: Any) -> dict[str, object]:
    """The arguments of a node that are plain values, by the operator's own names."""
    found: dict[str, object] = {}
    for given in _list(_at(node, "inputs")):
        name, value = _at(given, "name"), _at(given, "arg")
        for kind in _PLAIN:
            if type(name) is str and _is_setting(_at(value, kind)):
                found[name] = value[kind]
    return found


def _is_setting(value: Any) -> bool:
    if type(value) is list:
        return len(value) <= _LONG and all(type(part) in _SCALARS for part in value)
    return type(value) in _SCALARS


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if type(value) is dict else None
    return value


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []
