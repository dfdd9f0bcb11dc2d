"""Calls by which pickles make plain objects, told apart from those that may run anything.

A pickler writes `cls.__new__(cls, ...)` (NEWOBJ), or calls a class on scalars: an enum on its value, an
exception on its message. Whatever else is called on arguments of the file's choice is a function to us.
"""

from __future__ import annotations

import re
from typing import Any

from ckptaudit.readers.pickle.policy import in_family, is_active, is_class_name
from ckptaudit.readers.pickle.symbols import Call, Global

_SCALARS = (type(None), bool, int, float)
_WORD = re.compile(r"[\w.:+-]{0,64}|[\d:.+T -]{0,64}")
_CYTHON = "__pyx_unpickle_"  # how Cython's classes are made: `__pyx_unpickle_Name(cls, checksum, state)`


def makes_instance(call: Call) -> bool:
    """Whether the call only makes a plain instance of a class."""
    name = _called_name(call.func)
    if call.how in ("newobj", "newobj_ex"):
        return not is_active(name) and (is_class_name(name) or not call.args)
    if name.startswith(_CYTHON):
        return True
    return (
        name != ""
        and is_class_name(name)
        and not is_active(name)
        and not _is_of_a_library(call.func)
        and type(call.args) is tuple
        and all(_is_plain(part) for part in call.args)
    )


def _is_of_a_library(func: Any) -> bool:
    # What torch and numpy define is all there wherever the file is loaded: FileStore("x") makes a file.
    if type(func) is not Global or in_family(func.module, func.name):
        return False
    return func.module.partition(".")[0] in ("torch", "numpy")


def is_getattr(call: Call) -> bool:
    """Whether the call fetches an attribute by a name in plain sight."""
    func, args = call.func, call.args
    fetches = type(func) is Global and (func.module, func.name) == ("builtins", "getattr")
    return fetches and type(args) is tuple and len(args) >= 2 and type(args[1]) is str


def _called_name(func: Any) -> str:
    """The name of what is called; that of the attribute where it was fetched by getattr."""
    if type(func) is Global:
        return func.name
    return str(func.args[1]) if is_getattr(func) else ""


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_is_plain_scalar, value))
    return _is_plain_scalar(value)


def _is_plain_scalar(value: Any) -> bool:
    return is_word(value) if type(value) is str else type(value) in _SCALARS


def is_word(text: str) -> bool:
    """Whether it is a name, a version or a date; what could be a command or code is none."""
    return _WORD.fullmatch(text) is not None
