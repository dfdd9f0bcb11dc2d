"""The opcodes outside the machine's hot loop: one small function each, over a shared State.

A handler finds `state.pos` on its opcode, moves it past the opcode and its arguments, and returns True
only for STOP. Numbers of opcodes are those of CPython's Lib/pickle.py.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from ckptaudit.readers.pickle.literals import (
    counted,
    memo_index,
    python2_text,
    read_float,
    read_int,
    read_long,
    read_string,
    read_unicode,
    utf8,
)
from ckptaudit.readers.pickle.objects import (
    binpersid,
    build,
    extension,
    import_global,
    inst,
    newobj,
    newobj_ex,
    obj,
    persid,
    reduce,
    stack_global,
)
from ckptaudit.readers.pickle.state import State, underflow
from ckptaudit.readers.pickle.symbols import Call, PickleError

_F64 = Struct(">d").unpack_from
_HIGHEST_PROTOCOL = 5


def _push(convert: Callable[[State], Any], units: int = 1) -> Callable[[State], None]:
    def handler(state: State) -> None:
        state.pos += 1
        state.stack.append(convert(state))
        state.objects += units

    return handler


def _get(state: State) -> None:
    state.pos += 1
    index = memo_index(state)
    if index not in state.memo:
        raise PickleError(f"memo entry {index} was never stored")
    state.stack.append(state.memo[index])


def _long_binget(state: State) -> None:
    state.pos += 1
    index = int.from_bytes(state.take(4), "little")
    if index not in state.memo:
        raise PickleError(f"memo entry {index} was never stored")
    state.stack.append(state.memo[index])


def _put(state: State) -> None:
    value = state.top()
    state.pos += 1
    index = memo_index(state)
    if index < 0:
        raise PickleError("a negative memo index")
    state.memo[index] = value


def _memoize(state: State) -> None:
    state.memo[len(state.memo)] = state.top()
    state.pos += 1


def _pop(state: State) -> None:
    # A MARK with nothing above it is popped itself.
    if state.stack:
        state.stack.pop()
    elif state.outer:
        state.pop_mark()
    else:
        raise underflow()
    state.pos += 1


def _pop_mark(state: State) -> None:
    state.pop_mark()
    state.pos += 1


def _dup(state: State) -> None:
    state.stack.append(state.top())
    state.pos += 1


def _tuple(state: State) -> None:
    items = tuple(state.pop_mark())
    state.stack.append(items)
    state.objects += 1
    state.pos += 1


def _tuple_of(size: int) -> Callable[[State], None]:
    def handler(state: State) -> None:
        stack = state.stack
        if len(stack) < size:
            raise underflow()
        stack[-size:] = [tuple(stack[-size:])]
        state.objects += 1
        state.pos += 1

    return handler


def _list(state: State) -> None:
    items = state.pop_mark()
    state.stack.append(items)
    state.objects += 1
    state.pos += 1


def _dict(state: State) -> None:
    pairs = state.pop_mark()
    if len(pairs) % 2:
        raise PickleError("an odd number of items for a dict")
    made: dict[Any, Any] = {}
    state.set_items(made, pairs)
    state.stack.append(made)
    state.objects += 1
    state.pos += 1


def _frozenset(state: State) -> None:
    items = state.pop_mark()
    state.stack.append(frozenset(state.hashable(item) for item in items))
    state.objects += 4
    state.pos += 1


def _append(state: State) -> None:
    if len(state.stack) < 2:
        raise underflow()
    item = state.stack.pop()
    state.extend(state.stack[-1], [item])
    state.pos += 1


def _appends(state: State) -> None:
    items = state.pop_mark()
    target = state.top()
    if items:
        state.extend(target, items)
    elif type(target) is not list:
        state.use("append", target)
    state.pos += 1


def _setitem(state: State) -> None:
    if len(state.stack) < 3:
        raise underflow()
    value = state.stack.pop()
    key = state.stack.pop()
    state.set_items(state.stack[-1], [key, value])
    state.pos += 1


def _setitems(state: State) -> None:
    pairs = state.pop_mark()
    target = state.top()
    if len(pairs) % 2:
        raise PickleError("an odd number of items for SETITEMS")
    if pairs:
        state.set_items(target, pairs)
    elif type(target) is not dict:
        state.use("setitems", target)
    state.pos += 1


def _additems(state: State) -> None:
    items = state.pop_mark()
    target = state.top()
    if not items:
        pass
    elif type(target) is set:
        target.update(state.hashable(item) for item in items)
    elif type(target) in (list, dict, bytearray):
        raise PickleError(f"adds members to a {type(target).__name__}")
    else:
        state.extend(target, items)
    state.pos += 1


def _proto(state: State) -> None:
    state.pos += 1
    protocol = state.take(1)[0]
    if protocol > _HIGHEST_PROTOCOL:
        raise PickleError(f"pickle protocol {protocol}: the highest there is is {_HIGHEST_PROTOCOL}")
    state.protocol = protocol


def _frame(state: State) -> None:
    state.pos += 1
    size = int.from_bytes(state.take(8), "little")
    if size > len(state.data) - state.pos:
        raise PickleError("a frame longer than the pickle", truncated=True)
    state.frame_end = state.pos + size


def _next_buffer(state: State) -> None:
    raise PickleError("asks for a buffer outside the file")


def _readonly_buffer(state: State) -> None:
    if type(state.top()) not in (bytes, bytearray, Call):
        raise PickleError("asks for a buffer of something that is none")
    state.pos += 1


def _stop(state: State) -> bool:
    state.result = state.pop()
    state.pos += 1
    return True


def _unknown(state: State) -> None:
    raise PickleError(f"byte 0x{state.data[state.pos]:02x} is no pickle opcode")


_COMMON: dict[int, Callable[[State], bool | None]] = {
    0x74: _tuple,
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    0x29: _push(lambda state: ()),
    0x89: _push(lambda state: False),
    0x4D: _push(lambda state: int.from_bytes(state.take(2), "little")),
    0x4A: _push(lambda state: int.from_bytes(state.take(4), "little", signed=True)),
    0x6A: _long_binget,
    0x52: reduce,
    0x51: binpersid,
    0x75: _setitems,
    0x73: _setitem,
    0x61: _append,
    0x65: _appends,
    0x62: build,
    0x63: import_global,
    0x81: newobj,
    0x7D: _push(lambda state: {}),
    0x5D: _push(lambda state: []),
    0x8F: _push(lambda state: set(), 5),
    0x4E: _push(lambda state: None),
    0x88: _push(lambda state: True),
    0x47: _push(lambda state: _F64(state.take(8))[0]),
    0x8A: _push(lambda state: int.from_bytes(counted(1)(state), "little", signed=True)),
    0x55: _push(python2_text(counted(1))),
    0x80: _proto,
    0x2E: _stop,
}

_RARE: dict[int, Callable[[State], bool | None]] = {
    0x30: _pop,
    0x31: _pop_mark,
    0x32: _dup,
    0x46: _push(read_float),
    0x49: _push(read_int),
    0x4C: _push(read_long),
    0x53: _push(python2_text(read_string)),
    0x54: _push(python2_text(counted(4, signed=True))),
    0x56: _push(read_unicode),
    0x42: _push(counted(4)),
    0x43: _push(counted(1)),
    0x8E: _push(counted(8)),
    0x96: _push(lambda state: bytearray(counted(8)(state))),
    0x8C: _push(lambda state: utf8(counted(1)(state), "surrogatepass")),
    0x8D: _push(lambda state: utf8(counted(8)(state), "surrogatepass")),
    0x8B: _push(lambda state: int.from_bytes(counted(4, signed=True)(state), "little", signed=True)),
    0x50: persid,
    0x64: _dict,
    0x67: _get,
    0x69: inst,
    0x6C: _list,
    0x6F: obj,
    0x70: _put,
    0x82: extension(1),
    0x83: extension(2),
    0x84: extension(4),
    0x90: _additems,
    0x91: _frozenset,
    0x92: newobj_ex,
    0x93: stack_global,
    0x94: _memoize,
    0x95: _frame,
    0x97: _next_buffer,
    0x98: _readonly_buffer,
}


def _noting(opcode: int, handler: Callable[[State], bool | None]) -> Callable[[State], bool | None]:
    # torch's weights_only unpickler knows none of these: see weights_only.py.
    def noting(state: State) -> bool | None:
        state.rare.add(opcode)
        return handler(state)

    return noting


# One handler for each byte.
COLD: tuple[Callable[[State], bool | None], ...] = tuple(
    _COMMON[opcode] if opcode in _COMMON else _noting(opcode, _RARE.get(opcode, _unknown))
    for opcode in range(256)
)

# Bytes of argument of the opcodes that the hot loop reads itself.
ARGUMENT_BYTES = {0x72: 4, 0x4B: 1, 0x68: 1, 0x58: 4, 0x71: 1}
