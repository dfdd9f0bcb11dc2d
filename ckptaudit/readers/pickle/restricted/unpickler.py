"""The opcodes of torch's restricted unpickler, one small method each, in the words of its own source.

Source: `Unpickler.load` of torch/_weights_only_unpickler.py of torch 2.13. It is Python, and falls over like
Python: a stack that is too short is an IndexError, and an odd number of items too. Torch raises then too.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

from ckptaudit.readers.pickle.restricted.calls import build, new, reduce
from ckptaudit.readers.pickle.restricted.names import BLOCKED, IMPORTED, mapped, resolve, shown
from ckptaudit.readers.pickle.restricted.plain import hashable
from ckptaudit.readers.pickle.restricted.values import (
    Budget,
    Foreign,
    Named,
    RefusedError,
    UnsureError,
    kind_of,
    need,
)

_SETTABLE: Final = (dict, OrderedDict, Counter)
_FEW = 100  # characters of a name
_CUT = "the pickle ends before its STOP"
_F64 = struct.Struct(">d").unpack
_U32 = struct.Struct("<I").unpack_from
_CONSTANTS = {0x4E: None, 0x88: True, 0x89: False, 0x29: ()}
_SLICE = 65_536  # opcodes between two looks at the limits
_WIDEST = 5  # bytes of the widest opcode of a fixed size


def no_storage(pid: Any) -> Any:
    """What every persistent id comes to in a pickle that may have none."""
    raise RefusedError("a persistent id where torch expects none")


class Unpickler:
    """One pickle, from byte `start` of `data`. `persistent` makes storages of persistent ids.

    `run` gives the object, and raises RefusedError where torch would raise even if all of `budget.to_allow`
    were allowed.
    """

    def __init__(
        self, data: bytes, start: int, budget: Budget, persistent: Callable[[Any], Any] = no_storage
    ) -> None:
        self.data = data
        self.pos = start
        self.exhausted = False  # it wanted bytes behind the end of `data`
        self._persistent = persistent
        self._budget = budget
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._names: dict[tuple[str, str], Named | Foreign] = {}

    def run(self) -> Any:
        """The object at STOP. UnsureError where it takes more than the limits allow."""
        budget = self._budget
        try:
            while not self._slice():
                budget.opcodes -= _SLICE
                if budget.opcodes < 0 or budget.objects < 0:
                    raise UnsureError
            return self._stack.pop()
        except (IndexError, struct.error):
            if self.pos + _WIDEST < len(self.data):
                raise RefusedError("the pickle's stack is too short") from None
            self.exhausted = True
            raise RefusedError(_CUT) from None
        except KeyError as error:
            raise RefusedError(f"memo entry {error.args[0]} was never stored") from None
        except UnicodeDecodeError:
            raise RefusedError("a string that is not UTF-8") from None

    def _slice(self) -> bool:
        """Run up to _SLICE opcodes; True once STOP was met. What there is most of is done here at once."""
        data, memo, outer, handlers = self.data, self._memo, self._outer, HANDLERS
        pos, stack, made = self.pos, self._stack, 0
        try:
            for _ in repeat(None, _SLICE):
                opcode = data[pos]
                if opcode == 0x68:  # BINGET
                    stack.append(memo[data[pos + 1]])
                    pos += 2
                elif opcode == 0x72:  # LONG_BINPUT
                    memo[_U32(data, pos + 1)[0]] = stack[-1]
                    pos += 5
                elif opcode == 0x6A:  # LONG_BINGET
                    stack.append(memo[_U32(data, pos + 1)[0]])
                    pos += 5
                elif opcode == 0x58:  # BINUNICODE
                    begin = pos + 5
                    pos = begin + _U32(data, pos + 1)[0]
                    stack.append(str(data[begin:pos], "utf-8", "surrogatepass"))
                    made += 1
                elif opcode == 0x4B:  # BININT1
                    stack.append(data[pos + 1])
                    pos += 2
                elif opcode == 0x71:  # BINPUT
                    memo[data[pos + 1]] = stack[-1]
                    pos += 2
                elif opcode == 0x28:  # MARK
                    outer.append(stack)
                    stack = []
                    made += 1
                    pos += 1
                elif opcode in _CONSTANTS:
                    stack.append(_CONSTANTS[opcode])
                    pos += 1
                elif opcode == 0x74:  # TUPLE
                    items = tuple(stack)
                    stack = outer.pop()
                    stack.append(items)
                    made += 1
                    pos += 1
                elif opcode == 0x2E:  # STOP
                    pos += 1
                    return True
                else:
                    self.pos, self._stack = pos + 1, stack
                    try:
                        handlers[opcode](self)
                    finally:
                        pos, stack = self.pos, self._stack
        finally:
            self.pos, self._stack = pos, stack
            self._budget.objects -= made
        return False

    def _read(self, nbytes: int) -> bytes:
        taken = self.data[self.pos : self.pos + nbytes]
        self.pos += nbytes
        if len(taken) < nbytes:
            self.exhausted = True
            raise RefusedError(_CUT)
        return taken

    def _line(self) -> str:
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            self.exhausted = True
            raise RefusedError(_CUT)
        raw = self.data[self.pos : end]
        self.pos = end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedError("a name that is not UTF-8") from None

    def _push(self, value: Any) -> None:
        self._budget.objects -= 1
        self._stack.append(value)

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._outer.pop()
        return items

    def _global(self) -> None:
        module = self._line()
        name = self._line()
        module, name = mapped(module, name)
        need(
            module not in BLOCKED, f"{module}.{name[:_FEW]}: names of {module} are refused even when allowed"
        )
        found = self._names.get((module, name))
        if found is None:
            found = self._names[module, name] = resolve(module, name)
            if type(found) is Foreign and found.name not in IMPORTED:
                self._budget.to_allow.setdefault(shown(module, name))
        self._stack.append(found)

    def _newobj(self) -> None:
        args = self._stack.pop()
        self._push(new(self._stack.pop(), args, self._budget))

    def _reduce(self) -> None:
        args = self._stack.pop()
        self._budget.objects -= 1
        self._stack[-1] = reduce(self._stack[-1], args, self._budget)

    def _build(self) -> None:
        state = self._stack.pop()
        self._budget.objects -= 1
        build(self._stack[-1], state, self._budget)

    def _append(self) -> None:
        item = self._stack.pop()
        self._list_at_top().append(item)

    def _appends(self) -> None:
        items = self._pop_mark()
        self._list_at_top().extend(items)

    def _list_at_top(self) -> list[Any]:
        found = self._stack[-1]
        need(type(found) is list, f"torch appends to lists only, not to {kind_of(found)}")
        return found  # type: ignore[no-any-return]

    def _setitem(self) -> None:
        value = self._stack.pop()
        key = self._stack.pop()
        self._settable_at_top()[hashable(key, self._budget)] = value

    def _setitems(self) -> None:
        items = self._pop_mark()
        target = self._settable_at_top()
        for index in range(0, len(items), 2):
            need(index + 1 < len(items), "an odd number of items for SETITEMS")
            key = items[index]
            target[key if type(key) is str else hashable(key, self._budget)] = items[index + 1]

    def _settable_at_top(self) -> dict[Any, Any]:
        found = self._stack[-1]
        need(
            type(found) in _SETTABLE,
            f"torch sets items of dict, OrderedDict and Counter only, not of {kind_of(found)}",
        )
        return found  # type: ignore[no-any-return]

    def _tuple_of(self, size: int) -> None:
        stack = self._stack
        if len(stack) < size:
            raise IndexError
        self._budget.objects -= 1
        stack[-size:] = [tuple(stack[-size:])]

    def _string(self) -> None:
        raw = self._read(self._read(1)[0])
        try:
            self._push(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise RefusedError("a Python 2 string that is not UTF-8") from None

    def _persistent_id(self) -> None:
        self._budget.objects -= 1
        pid = self._stack.pop()
        self._stack.append(self._persistent(pid))

    def _proto(self) -> None:
        self._read(1)  # any number will do

    def _unsupported(self) -> None:
        raise RefusedError(
            f"opcode 0x{self.data[self.pos - 1]:02x}, which torch's restricted unpickler lacks"
        )


_Handler = Callable[[Unpickler], None]


def _pushes(make: Callable[[Unpickler], Any]) -> _Handler:
    def handler(machine: Unpickler) -> None:
        machine._push(make(machine))

    return handler


def _number(width: int, *, signed: bool = False) -> _Handler:
    def handler(machine: Unpickler) -> None:
        machine._stack.append(int.from_bytes(machine._read(width), "little", signed=signed))

    return handler


def _long(machine: Unpickler) -> int:
    return int.from_bytes(machine._read(machine._read(1)[0]), "little", signed=True)


_KNOWN: Final[dict[bytes, _Handler]] = {
    b"c": Unpickler._global,
    b"\x81": Unpickler._newobj,
    b"R": Unpickler._reduce,
    b"b": Unpickler._build,
    b"a": Unpickler._append,
    b"e": Unpickler._appends,
    b"s": Unpickler._setitem,
    b"u": Unpickler._setitems,
    b"\x85": lambda machine: machine._tuple_of(1),
    b"\x86": lambda machine: machine._tuple_of(2),
    b"\x87": lambda machine: machine._tuple_of(3),
    b"]": _pushes(lambda machine: []),
    b"}": _pushes(lambda machine: {}),
    b"\x8f": _pushes(lambda machine: set()),
    b"J": _number(4, signed=True),
    b"M": _number(2),
    b"G": _pushes(lambda machine: _F64(machine._read(8))[0]),
    b"U": Unpickler._string,
    b"Q": Unpickler._persistent_id,
    b"\x8a": _pushes(_long),
    b"\x80": Unpickler._proto,
}
# One handler for each byte.
HANDLERS: Final = tuple(_KNOWN.get(bytes([opcode]), Unpickler._unsupported) for opcode in range(256))
