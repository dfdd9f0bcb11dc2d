"""The child process behind `module:pkg.mod:factory`: runs the caller's code, and tells what model it gives.

`python -m ckptaudit.blueprint.child PATH MODULE FACTORY` writes one JSON object to PATH.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

_DEEPEST = 6  # plain containers in plain containers
_MOST = 100_000
_LOOK = 0.5  # seconds between two looks at the parent


def describe(module: str, factory: str) -> dict[str, Any]:
    """What the model expects, as JSON values; `error` where there is none."""
    try:
        import torch
    except ImportError:
        return {
            "error": "torch is not installed, and the code needs it",
            "remedy": "pip install 'ckptaudit[torch]'",
        }
    sys.path.insert(0, os.getcwd())
    try:
        made = _build(torch, module, factory)
    except Exception as error:
        return {"error": _told(error)}
    if not isinstance(made, torch.nn.Module):
        return {
            "error": f"{factory} gives a {type(made).__name__}, not an nn.Module",
            "remedy": "name what returns the module that holds the parameters",
        }
    try:
        return _blueprint(torch, made)
    except Exception as error:
        return {"error": f"its state_dict() fails: {_told(error)}"}


def _told(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    place = f" ({os.path.basename(theirs[-1].filename)}, line {theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{place}"


def _build(torch: Any, module: str, factory: str) -> Any:
    """The object that the reference names, called where it is a class or a function.

    On the meta device first, where no memory is taken; code that needs real numbers gets them after all.
    """
    target: Any = importlib.import_module(module)
    for name in factory.split("."):
        target = getattr(target, name)
    if isinstance(target, torch.nn.Module) or not callable(target):
        return target
    try:
        with torch.device("meta"):
            return target()
    except Exception:
        return target()


def _blueprint(torch: Any, model: Any) -> dict[str, Any]:
    state = model.state_dict(keep_vars=True)
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    groups: dict[object, list[str]] = {}
    for key, value in tensors.items():
        groups.setdefault(_memory(torch, value), []).append(key)
    return {
        "name": type(model).__name__,
        "tensors": [[key, *_facts(torch, value)] for key, value in tensors.items()],
        "ties": [group for group in groups.values() if len(group) > 1],
        "other": [key for key in state if key not in tensors],
        "lost": [[key, *_facts(torch, value), why] for key, value, why in _lost(torch, model, tensors)],
    }


def _facts(torch: Any, tensor: Any) -> list[Any]:
    lazy = torch.nn.parameter.is_lazy(tensor)
    return [None if lazy else list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]


def _memory(torch: Any, tensor: Any) -> object:
    """Equal for tensors that view the same memory alike. The meta device has no addresses to compare."""
    if torch.nn.parameter.is_lazy(tensor) or tensor.layout != torch.strided or tensor.numel() == 0:
        return id(tensor)
    try:
        storage = tensor.untyped_storage()._cdata
    except Exception:  # a subclass that has no storage
        return id(tensor)
    return (storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def _lost(torch: Any, model: Any, held: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Tensors that the model owns and its state dict does not hold: name, tensor, and why it does not."""
    seen = {_memory(torch, value) for value in held.values()}
    for name, tensor, why in _not_saved(torch, model):
        memory = _memory(torch, tensor)
        if memory not in seen:
            seen.add(memory)
            yield name, tensor, why


def _not_saved(torch: Any, model: Any) -> Iterator[tuple[str, Any, str]]:
    """Tensors in attributes that nn.Module does not register, under the dotted names that lead to them."""
    registered = {id(module) for module in model.modules()}
    own = set(vars(torch.nn.Module()))
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name in sorted(module._non_persistent_buffers_set):
            if module._buffers.get(name) is not None:
                yield prefix + name, module._buffers[name], "non-persistent buffer"
        for name, value in vars(module).items():
            if name in own or name.startswith("_flat_weight"):  # what recurrent layers repeat of their own
                continue
            if isinstance(value, torch.Tensor):
                yield prefix + name, value, "plain attribute"
            else:
                for key, tensor in _inside(torch, prefix + name, value, registered, _DEEPEST):
                    yield key, tensor, "in a plain container"


def _inside(torch: Any, name: str, value: Any, registered: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """The tensors in a plain list, tuple or dict, and in the modules that only it holds."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, torch.nn.Module):
        if id(value) not in registered:
            held = value.state_dict(keep_vars=True).items()
            yield from ((f"{name}.{key}", part) for key, part in held if isinstance(part, torch.Tensor))
    elif depth and isinstance(value, list | tuple | dict) and len(value) <= _MOST:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            yield from _inside(torch, f"{name}.{key}", part, registered, depth - 1)


def _end_with(parent: int) -> None:
    """End, with all that the code has started, once the process that asked is gone: nobody waits any more."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os.killpg(0, signal.SIGKILL)


def main(path: str, module: str, factory: str) -> None:
    """Describe the model, and write the answer to `path`."""
    if hasattr(os, "killpg"):
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answer = describe(module, factory)
    with open(path, "w", encoding="ascii") as out:
        json.dump(answer, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the code has left running have nothing to add
