"""What a module is besides its tensors: its class, its plain attributes and its code, as text to compare."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from types import CodeType, FunctionType, MethodType
from typing import Any

from ckptaudit.verify.facts import Module
from ckptaudit.verify.lib import library

_LONGEST = 200
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def describe(module: Any, training: bool) -> Module:
    """The facts of one module; `training` is its flag before `eval()`."""
    kind = type(module)
    return Module(
        cls=f"{kind.__module__}.{kind.__qualname__}",
        training=training,
        config=_config(module),
        code=_code(getattr(getattr(kind, "forward", None), "__code__", None)),
        late=bool(module.training),
    )


def _config(module: Any) -> dict[str, str]:
    own = set(vars(library().nn.Module()))
    found = {
        name: told
        for name, value in vars(module).items()
        if name not in own and (told := _plain(value)) is not None
    }
    for name in _HOOKS:
        if hooks := getattr(module, name, None):
            found[name] = ", ".join(_callable(hook) or type(hook).__name__ for hook in hooks.values())
    return found


def _plain(value: Any, depth: int = 3) -> str | None:
    """A plain value as text; None for tensors, modules and what nothing is known of."""
    torch = library()
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)[:_LONGEST]
    if isinstance(value, torch.dtype | torch.device | torch.Size):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset) and depth and len(value) <= 32:
        parts = [_plain(part, depth - 1) for part in value]
        return None if None in parts else f"({', '.join(map(str, parts))})"
    if isinstance(value, Mapping) and depth and len(value) <= 32:
        told = {repr(key): _plain(part, depth - 1) for key, part in value.items()}
        return None if None in told.values() else str(told)
    return _callable(value)


def _callable(value: Any) -> str | None:
    """A function by its name and its code."""
    if isinstance(value, partial):
        inner = _callable(value.func)
        return None if inner is None else f"partial({inner}, {_plain(value.args)}, {_plain(value.keywords)})"
    if isinstance(value, MethodType):
        return f"{type(value.__self__).__qualname__}.{value.__name__}"
    if isinstance(value, FunctionType):
        closed = [_plain(cell.cell_contents) for cell in value.__closure__ or () if _is_filled(cell)]
        return f"{value.__module__}.{value.__qualname__} {_code(value.__code__)} {closed}"
    if isinstance(value, type) or callable(value):
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        return f"{getattr(value, '__module__', '')}.{name}" if isinstance(name, str) else None
    return None


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _code(code: CodeType | None) -> str:
    """A digest of what a function does: of its instructions, names and constants, not of its place."""
    if not isinstance(code, CodeType):
        return ""
    parts = [code.co_code, code.co_names, code.co_varnames]
    parts += [_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts[:1000]]
    return sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
