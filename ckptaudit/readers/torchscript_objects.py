"""The objects of a TorchScript pickle, put into the form in which torch.nn's own modules are pickled.

TorchScript keeps all attributes of a module in one dict; what is a parameter, a buffer or a submodule
stands in the code. Once they are sorted, one walk (`revive.Reviver`) serves both kinds of file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptaudit.readers.pickle.symbols import Call, Global, Persistent
from ckptaudit.readers.torchscript_code import Code, ScriptClass, original_class

_WRAPPERS = "torch.jit._pickle"  # restore_type_tag(value, type) and build_intlist(value) hand back `value`


def is_script_name(module: str) -> bool:
    """Whether a class of this module is TorchScript's, and not one that Python would import."""
    return module == "__torch__" or module.startswith("__torch__.")


class Objects:
    """Changes the symbols of one archive in place, each once: what is shared stays shared."""

    def __init__(self, code: Code) -> None:
        self._code = code

    def adapt(self, root: object) -> None:
        """Sort the state of every module that `root` leads to, and open the wrappers around values."""
        seen: set[int] = set()
        todo: list[Any] = [root]
        while todo:
            value = todo.pop()
            if id(value) in seen or type(value) not in (Call, dict, list, tuple):
                continue
            seen.add(id(value))
            todo.extend(_parts(value))
            if type(value) is Call and type(value.func) is Global:
                self._adapt_call(value, value.func)

    def _adapt_call(self, call: Call, func: Global) -> None:
        if func.module == _WRAPPERS:
            _open(call)
        elif is_script_name(func.module) and call.state:
            script = self._code.find(func.module, func.name)
            _sort(call, call.state[-1], script)
            module, name = original_class(func.module, func.name)
            call.func = Global(module, name, func.position, func.width)


def _parts(value: Any) -> Iterator[Any]:
    if type(value) is Call:
        yield value.args
        yield from value.state or ()
        yield value.items
        yield value.pairs
    else:
        yield from value.values() if type(value) is dict else value


def _open(call: Call) -> None:
    """Make a wrapper look like the container in it."""
    value = _unwrapped(call)
    if type(value) is dict:
        call.pairs = value
    elif type(value) in (list, tuple):
        call.items = list(value)


def _unwrapped(value: Any) -> Any:
    hops = 0
    while (
        type(value) is Call and type(value.func) is Global and value.func.module == _WRAPPERS and hops < 100
    ):
        if type(value.args) is not tuple or not value.args:
            return value
        value = value.args[0]
        hops += 1
    return value


def _sort(call: Call, state: Any, script: ScriptClass | None) -> None:
    """Give a module torch.nn's slots, and any other object its parts by number."""
    state = _unwrapped(state)
    if type(state) is dict:
        state = {name: _unwrapped(value) for name, value in state.items() if type(name) is str}
        is_module = script.base == "Module" if script else "training" in state
        call.state = [_slots(state, script or ScriptClass("Module")) if is_module else state]
        return
    # __getstate__ gave something of its own: a quantized module packs its weights so.
    parts = list(state) if type(state) in (list, tuple) else [state]
    if script is not None and script.base == "Module":
        named = {
            script.state_names.get(index, f"{index}"): _unwrapped(part) for index, part in enumerate(parts)
        }
        call.state = [_slots(named, script)]
    else:
        call.items, call.state = parts, None


def _slots(state: dict[str, Any], script: ScriptClass) -> dict[str, Any]:
    parameters = {name: state[name] for name in script.parameters if name in state}
    buffers = {name: state[name] for name in script.buffers if name in state}
    others = {name: value for name, value in state.items() if name not in parameters and name not in buffers}
    own = {_look(value) for value in (*parameters.values(), *buffers.values())}
    # Private attributes are not walked in a module of torch.nn; here they can hold its packed weights.
    inner = {name: part for name, part in others.items() if name[:1] == "_" and not _repeats(part, own)}
    return {
        **{name: value for name, value in script.constants.items() if name not in state},
        **{name: value for name, value in others.items() if name[:1] != "_"},
        "_parameters": parameters,
        "_buffers": buffers,
        "_modules": inner,
    }


def _repeats(value: Any, own: set[object]) -> bool:
    """Whether a list holds nothing but the module's own parameters: nn.LSTM's `_flat_weights`."""
    return type(value) is list and bool(value) and all(_look(part) in own for part in value)


def _look(tensor: Any) -> object:
    """What tells two tensors of one pickle apart; the value's identity for what is no plain tensor."""
    args = tensor.args if type(tensor) is Call else ()
    if type(args) is not tuple or len(args) < 4 or type(args[0]) is not Persistent:
        return id(tensor)
    pid, offset, shape, stride = args[0].pid, *args[1:4]
    if type(pid) is not tuple or len(pid) != 5 or not _are_numbers((offset,), shape, stride):
        return id(tensor)
    return (pid[2] if type(pid[2]) is str else "", offset, shape, stride)


def _are_numbers(*parts: Any) -> bool:
    return all(type(part) is tuple and all(type(number) is int for number in part) for part in parts)
