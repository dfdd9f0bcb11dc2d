"""Values that are no tensors, in plain words: what an object in a pickle would print as.

Nothing is made: a path is joined text, a numpy scalar its number, a class its name.
"""

from __future__ import annotations

import struct
from typing import Any

from ckptaudit.readers.pickle.symbols import Call, Global, Persistent

_SCALARS = (type(None), bool, int, float, str)
_MAX_ITEMS = 64  # of a list that is shown whole
_MAX_NUMBERS = 100_000  # of a list of numbers: the parameters that an optimizer's group lists
_MAX_TEXT = 65_536
_MAX_SHOWN = 200  # characters of a text that is too long to show whole, or part of another
_WRAPPERS = (("torch", "Size"), ("builtins", "set"), ("builtins", "frozenset"))
_MAX_BITS = 1024  # Python refuses to spell numbers of more than some 14,000
_NUMPY_CODES = {"f2": "e", "f4": "f", "f8": "d", "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}
_NUMPY_CODES |= {"u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
_ARRAY_MAKERS = ("numpy.core.multiarray", "numpy._core.multiarray")


def plain(value: Any) -> object:
    """`value` as None, bool, int, float, str, or a short list of these."""
    if type(value) is str:
        return value if len(value) <= _MAX_TEXT else f"{value[:_MAX_SHOWN]}… ({len(value):,} characters)"
    if type(value) is int:
        return value if value.bit_length() <= _MAX_BITS else f"a number of {value.bit_length():,} bits"
    if type(value) in _SCALARS:
        return value
    if type(value) in (bytes, bytearray):
        return f"{len(value):,} bytes"
    if type(value) is Global:
        return f"{value.module[:_MAX_SHOWN]}.{value.name[:_MAX_SHOWN]}"
    if type(value) is Call:
        return _called(value)
    if type(value) is Persistent:
        return "a storage"
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return _collection(value)
    return type(value).__name__


def spelt(key: Any) -> str:
    """A dict key that is no text, as str() shows it where that is short and safe."""
    parts = key if type(key) is tuple else (key,)
    if len(parts) <= _MAX_ITEMS and all(_is_short(part) for part in parts):
        return str(key)
    return str(plain(key))


def _is_count(item: Any) -> bool:
    return type(item) is int and 0 <= item < _MAX_NUMBERS


def _is_short(part: Any) -> bool:
    if type(part) is int:
        return part.bit_length() <= _MAX_BITS
    if type(part) in (str, bytes):
        return len(part) <= _MAX_SHOWN
    return type(part) in _SCALARS


def _collection(value: Any) -> object:
    if type(value) is list and _MAX_ITEMS < len(value) <= _MAX_NUMBERS and all(map(_is_count, value)):
        return list(value)
    if len(value) <= _MAX_ITEMS and type(value) is not dict and all(_is_short(item) for item in value):
        return [plain(item) for item in value]
    return f"{type(value).__name__} of {len(value):,}"


def _called(call: Call) -> object:
    func, args = call.func, call.args[:_MAX_ITEMS] if type(call.args) is tuple else ()
    if type(func) is not Global:
        return "the result of a call"
    name = func.name[:_MAX_SHOWN]
    if func.module in _ARRAY_MAKERS:
        return _scalar(args) if name == "scalar" else _array(call)
    if func.module.startswith("pathlib") and all(type(part) is str for part in args):
        return _path(args)
    if (func.module, name) == ("torch", "device"):
        return device_name(args)
    if (func.module, name) in _WRAPPERS and args and isinstance(args[0], (list, tuple, set, frozenset)):
        return _collection(args[0])
    shown = ", ".join(repr(plain(part))[:80] for part in args[:4] if type(part) in _SCALARS)
    return f"{func.module[:_MAX_SHOWN]}.{name}({shown})"


def device_name(args: tuple[Any, ...]) -> str:
    """The name of torch.device(*args): "cpu", "cuda:0"."""
    return ":".join(spelt(part) for part in args[:2] if type(part) in (str, int))


def _path(args: tuple[Any, ...]) -> str:
    parts = [part[:_MAX_SHOWN] for part in args]
    if parts and parts[0].startswith("/"):
        return "/" + "/".join(part.strip("/") for part in parts if part != "/")
    return "/".join(parts)


def _scalar(args: tuple[Any, ...]) -> object:
    # numpy.core.multiarray.scalar(dtype, bytes)
    code = _dtype_code(args[0]) if args else ""
    raw = as_bytes(args[1]) if len(args) > 1 else None
    if raw is None or code not in _NUMPY_CODES:
        return f"numpy scalar {code}".strip()
    order = ">" if _byte_order(args[0]) == ">" else "<"
    try:
        number: object = struct.unpack(order + _NUMPY_CODES[code], raw)[0]
    except struct.error:
        return f"numpy scalar {code}"
    return number


def _array(call: Call) -> str:
    state = call.state[-1] if call.state else None
    if type(state) is tuple and len(state) == 5 and type(state[1]) is tuple:
        sizes = ", ".join(spelt(size)[:40] for size in state[1][:_MAX_ITEMS] if type(size) is int)
        return f"numpy array {_dtype_code(state[2])} [{sizes}]"
    return "numpy array"


def _dtype_code(dtype: Any) -> str:
    # numpy.dtype("f8", False, True), with the state (version, byte order, ...)
    if type(dtype) is Call and type(dtype.args) is tuple and dtype.args and type(dtype.args[0]) is str:
        return dtype.args[0][:40]
    return ""


def _byte_order(dtype: Any) -> object:
    state = dtype.state[-1] if type(dtype) is Call and dtype.state else None
    return state[1] if type(state) is tuple and len(state) > 1 else "<"


def as_bytes(value: Any) -> bytes | None:
    """Bytes as pickles hold them: as they are, or as `_codecs.encode(text, "latin1")` below protocol 3."""
    if type(value) is bytes:
        return value
    func = value.func if type(value) is Call else None
    if type(func) is not Global or (func.module, func.name) != ("_codecs", "encode"):
        return None
    if type(value.args) is not tuple or len(value.args) != 2 or value.args[1] not in ("latin1", "latin-1"):
        return None
    try:
        return value.args[0].encode("latin-1") if type(value.args[0]) is str else None
    except UnicodeEncodeError:
        return None
