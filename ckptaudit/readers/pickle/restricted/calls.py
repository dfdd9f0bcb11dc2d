"""REDUCE, NEWOBJ and BUILD of torch's restricted unpickler: what may be called, made and changed.

What is foreign, and would have to be allowed, is taken to do what such names are for: to make an object of a
class. numpy's own rebuild functions make objects of other types, which must then be allowed as well.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, Final

from ckptaudit.readers.pickle.restricted.functions import function
from ckptaudit.readers.pickle.restricted.names import shown
from ckptaudit.readers.pickle.restricted.plain import items_of, truth, unpacked, update
from ckptaudit.readers.pickle.restricted.rebuild import parameter_state
from ckptaudit.readers.pickle.restricted.values import (
    Budget,
    Device,
    Foreign,
    Made,
    Named,
    RefusedError,
    Size,
    Tensor,
    Typed,
    kind_of,
    need,
)
from ckptaudit.readers.pickle.restricted.views import set_

_GENERATOR: Final = "torch._C.Generator"
_PARAMETER: Final = "torch.nn.parameter.Parameter"
# cls.__new__ of these takes any arguments, and leaves them aside.
_EMPTY: Final = {
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "builtins.set": set,
    "builtins.bytearray": bytearray,
}
_STANDARD: Final = {"builtins.dict": dict, "builtins.list": list}
# What is no instance of the name that is called: numpy's functions, by the type of what they make.
_FIRST_ARGUMENT: Final = frozenset(
    {"copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__", "copy_reg._reconstructor"}
    | {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
    | {"numpy.ma.core._mareconstruct"}
)
_RANDOM: Final = {
    "numpy.random._pickle.__randomstate_ctor": "numpy.random.mtrand.RandomState",
    "numpy.random._pickle.__generator_ctor": "numpy.random._generator.Generator",
}
_BIT_GENERATORS: Final = {
    "MT19937": "_mt19937",
    "PCG64": "_pcg64",
    "PCG64DXSM": "_pcg64",
    "SFC64": "_sfc64",
} | {"Philox": "_philox"}
_DTYPE_CLASSES: Final = {
    "b1": "Bool", "i1": "Int8", "i2": "Int16", "i4": "Int32", "i8": "Int64", "u1": "UInt8", "u2": "UInt16",
    "u4": "UInt32", "u8": "UInt64", "f2": "Float16", "f4": "Float32", "f8": "Float64", "f16": "LongDouble",
    "c8": "Complex64", "c16": "Complex128", "c32": "CLongDouble", "O8": "Object",
}  # fmt: skip
_DTYPE_FAMILIES: Final = {"U": "Str", "S": "Bytes", "V": "Void", "M": "DateTime64", "m": "TimeDelta64"}


def reduce(func: Any, args: Any, budget: Budget) -> Any:
    """REDUCE: `func(*args)`, where torch knows or was told to allow `func`."""
    if type(func) is Foreign:
        return _foreign(func, unpacked_or_none(args, budget))
    return function(func)(unpacked(args, budget), budget)


def new(cls: Any, args: Any, budget: Budget) -> Any:
    """NEWOBJ: `cls.__new__(cls, *args)`."""
    if type(cls) is Foreign:
        return _foreign(cls, unpacked_or_none(args, budget))
    need(type(cls) is Named, f"an object of {kind_of(cls)}, which is no allowed class")
    need(cls.kind in ("class", "tensor type"), f"an object of {cls.name}, which is no class")
    values = unpacked(args, budget)
    if cls.name in _EMPTY:
        return _EMPTY[cls.name]()
    need(cls.name != "torch.storage.TypedStorage", "an object of TypedStorage that was not initialised")
    return function(cls)(values, budget)


def unpacked_or_none(args: Any, budget: Budget) -> tuple[Any, ...]:
    """The arguments of something foreign, which may be anything that is itself foreign."""
    return () if type(args) is Made else unpacked(args, budget)


def _foreign(func: Foreign, args: tuple[Any, ...]) -> Any:
    if func.name in _STANDARD and not args:
        return _STANDARD[func.name]()
    first: Any = args[0] if args else None
    if func.name in _FIRST_ARGUMENT:
        return Made(first.name if type(first) in (Foreign, Named) else "")
    if func.name == "numpy.dtype":
        return Made(_numpy_dtype(first))
    if func.name == "numpy.random._pickle.__bit_generator_ctor":
        if type(first) is str and first in _BIT_GENERATORS:
            return Made(f"numpy.random.{_BIT_GENERATORS[first]}.{first}")
        return Made(first.name if type(first) is Foreign else "")
    return Made(_RANDOM.get(func.name, func.name))


def _numpy_dtype(code: Any) -> str:
    """The class of numpy.dtype(code): what is rebuilt of it has that type, and not numpy.dtype."""
    name = code.lstrip("<>=|") if type(code) is str else ""
    family = _DTYPE_CLASSES.get(name) or _DTYPE_FAMILIES.get(name[:1])
    return f"numpy.dtypes.{family}DType" if family else "numpy.dtype"


def build(inst: Any, state: Any, budget: Budget) -> None:
    """BUILD: the state of an object, by what torch does for each type that it builds."""
    if type(inst) is Tensor:
        _build_tensor(inst, state, budget)
    elif type(inst) is OrderedDict:
        update({}, state, budget)
    elif type(inst) is Made:
        _build_foreign(inst, state, budget)
    elif type(inst) in (set, bytearray, complex, Size, Device):
        _load_state(state, budget, attributes=False)
    elif type(inst) in (Counter, Typed):
        _load_state(state, budget, attributes=True)
    else:
        raise RefusedError(f"the state of {kind_of(inst)} is set, which torch does not allow")


def _build_tensor(inst: Tensor, state: Any, budget: Budget) -> None:
    if inst.cls == "torch.Tensor":
        set_(inst, unpacked(state, budget))
    elif inst.cls == _PARAMETER:
        parameter_state(inst, state, budget)


def _build_foreign(inst: Made, state: Any, budget: Budget) -> None:
    need(inst.cls, "the state of what a call gave is set, whose type is not allowed")
    if inst.cls == _GENERATOR:
        # It looks at the numbers in its state at once, and a legacy file fills storages last.
        parts = state if type(state) is tuple else (state,)
        unread = any(type(part) is Tensor and part.memory and part.memory.grows for part in parts)
        need(not unread, "a generator whose state is not read from the file yet")
    module, _, name = inst.cls.rpartition(".")
    if module.startswith("numpy.") and not inst.cls.startswith("numpy.random._pickle"):
        budget.to_allow.setdefault(shown(module, name))


def _load_state(state: Any, budget: Budget, *, attributes: bool) -> None:
    """As pickle's own load_build: attributes of the object's dict, if it has one, then slots."""
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if truth(state):
        need(attributes, "attributes of an object that has none are set")
        update({}, state, budget)
    if truth(slots):
        for name, _ in items_of(slots, budget):
            need(attributes and type(name) is str, "attributes of an object that has none are set")
