"""What a module is besides its tensors: its class, its attributes and its code, as text to compare."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import partial
from hashlib import sha256
from types import CodeType, FunctionType, MethodType
from typing import Any

from ckptaudit.verify.facts import Module
from ckptaudit.verify.leaves import NotComparableError, leaf, plain_text
from ckptaudit.verify.lib import library
from ckptaudit.verify.snapshot import is_torch, plain_attributes

_LONGEST = 200
_DEEPEST = 5
_MOST = 5000  # values of one attribute that are told
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
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
    torch = library()
    own = set(vars(torch.nn.Module()))
    # A class may hold what its modules do not; the nearest one counts.
    held: dict[str, Any] = {}
    for kind in reversed(type(module).__mro__):
        if not is_torch(kind):
            held |= plain_attributes(kind)
    held |= {name: value for name, value in vars(module).items() if name not in own}
    found = {
        name: _short(_Teller().tell(value, _DEEPEST))
        for name, value in held.items()
        # Tensors and modules are told as what they are, and what recurrent layers repeat of theirs too.
        if not isinstance(value, torch.Tensor | torch.nn.Module) and not name.startswith("_flat_weight")
    }
    for name in _HOOKS:
        if hooks := getattr(module, name, None):
            found[name] = _short(", ".join(_Teller().tell(hook, _DEEPEST) for hook in hooks.values()))
    return found


def _short(text: str) -> str:
    """A long text by its beginning and a digest of all of it."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... {sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


class _Teller:
    """One attribute as text. What it holds beyond a limit in depth and number is told by its types alone."""

    def __init__(self) -> None:
        self.left = _MOST

    def tell(self, value: Any, depth: int) -> str:
        """A value of any kind: never by an address in memory, which is another one each time."""
        self.left -= 1
        torch = library()
        if isinstance(value, torch.Tensor):
            return _tensor(value)
        if isinstance(value, torch.nn.Module):
            return "module"
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return plain_text(value) if value is not None else "None"
        if isinstance(value, torch.dtype | torch.device | torch.Size):
            return str(value)
        if not depth or self.left < 0:
            return type(value).__qualname__
        if isinstance(value, Mapping):
            told = [
                f"{self.tell(key, depth - 1)}: {self.tell(part, depth - 1)}" for key, part in value.items()
            ]
            return f"{{{', '.join(told)}}}"
        if isinstance(value, set | frozenset):
            return f"({', '.join(sorted(self._all(value, depth)))})"
        if isinstance(value, list | tuple):
            return f"({', '.join(self._all(value, depth))})"
        return self._callable(value, depth) or self._object(value, depth)

    def _all(self, parts: Iterable[Any], depth: int) -> list[str]:
        return [self.tell(part, depth - 1) for part in parts]

    def _callable(self, value: Any, depth: int) -> str:
        """A function by its name, its code, and what it holds; a class by its name; "" for another object."""
        if isinstance(value, partial):
            parts = self._all((value.func, value.args, value.keywords), depth)
            return f"partial({', '.join(parts)})"
        if isinstance(value, MethodType):
            return f"{type(value.__self__).__qualname__}.{value.__name__}"
        if isinstance(value, FunctionType):
            closed = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            held = self._all((closed, value.__defaults__, value.__kwdefaults__), depth)
            return f"{value.__module__}.{value.__qualname__} {_code(value.__code__)} {' '.join(held)}"
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        return f"{getattr(value, '__module__', '')}.{name}" if isinstance(name, str) else ""

    def _object(self, value: Any, depth: int) -> str:
        numpy: Any = sys.modules.get("numpy")
        kind = type(value).__qualname__
        if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
            raw = plain_text(value.tolist()) if value.dtype == object else value.tobytes()
            told = raw if isinstance(raw, bytes) else _ADDRESS.sub("", raw).encode("utf-8", "replace")
            return f"{kind} {value.dtype} {value.shape} {sha256(told).hexdigest()[:16]}"
        try:
            own = vars(value)
        except TypeError:
            names = [name for each in type(value).__mro__ for name in getattr(each, "__slots__", ())]
            own = {name: getattr(value, name) for name in names if hasattr(value, name)}
        if own:
            return f"{kind} {self.tell(dict(own), depth - 1)}"
        try:
            return _ADDRESS.sub("", repr(value))
        except Exception:  # a class of the model's own
            return kind


def _tensor(tensor: Any) -> str:
    try:
        found = leaf("", tensor)
    except (NotComparableError, RuntimeError, NotImplementedError):
        return "tensor"
    return f"tensor {found.dtype} {list(found.shape)} {found.digest[:16]}"


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _code(code: CodeType | None) -> str:
    """A digest of what a function does: of its instructions, names and constants, not of its place.

    Before it the version of Python, whose instructions they are.
    """
    if not isinstance(code, CodeType):
        return ""
    parts = [code.co_code, code.co_names, code.co_varnames]
    for each in code.co_consts[:1000]:
        told = sorted(map(repr, each)) if isinstance(each, frozenset) else each
        parts.append(_code(each) if isinstance(each, CodeType) else repr(told))
    digest = sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{sys.version_info.major}.{sys.version_info.minor} {digest}"
