"""The opcodes outside the machine's hot loop: one small function each, over a shared State.

A handler finds `state.pos` on its opcode, moves it past the opcode and its arguments, and returns True
only for STOP. Numbers of opcodes are those of CPython's Lib/pickle.py.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from ckptaudit.readers.pickle.state import State, underflow
from ckptaudit.readers.pickle.symbols import Call, Fault, Global

_F64 = Struct(">d").unpack_from
_HIGHEST_PROTOCOL = 5


def _push(convert: Callable[[State], Any]) -> Callable[[State], None]:
    def handler(state: State) -> None:
        state.pos += 1
        state.stack.append(convert(state))
        state.objects += 1

    return handler


def _counted(width: int, *, signed: bool = False) -> Callable[[State], bytes]:
    def read(state: State) -> bytes:
        size = int.from_bytes(state.take(width), "little", signed=signed)
        if size < 0:
            raise Fault(f"a string of {size} bytes")
        return state.take(size)

    return read


def _python2_text(read: Callable[[State], bytes]) -> Callable[[State], Any]:
    # torch.load decodes these as UTF-8; bytes that are none stay bytes, which torch would refuse.
    def convert(state: State) -> str | bytes:
        at, raw = state.pos, read(state)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            state.oddities.append((at, "holds a Python 2 string that is not UTF-8"))
            return raw

    return convert


def _utf8(raw: bytes, errors: str = "strict") -> str:
    try:
        return raw.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise Fault(f"a string is not UTF-8 ({error.reason})") from None


def _number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise Fault(f"{text[:40]!r} is no number") from None


def _int(state: State) -> int | bool:
    text = state.line()
    if text in (b"00", b"01"):
        return text == b"01"
    return _number(text, 0)


def _float(state: State) -> float:
    text = state.line()
    try:
        if text != text.strip() or b"_" in text:  # float() takes these, C does not
            raise ValueError
        return float(text)
    except ValueError:
        raise Fault(f"{text[:40]!r} is no number") from None


def _string(state: State) -> Any:
    # Escapes as bytes literals have them; a quote at both ends, the same one.
    text = state.line().rstrip(b" \t\r\n\v\f")
    if len(text) < 2 or text[0] != text[-1] or text[0] not in b"\"'":
        raise Fault("a STRING without its quotes")
    return _unescape(text[1:-1])


def _unescape(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    try:
        # latin-1 maps bytes to code points one to one, so this undoes exactly the bytes' own escapes.
        plain = text.decode("latin-1").replace("\\u", "\\\\u").replace("\\U", "\\\\U").replace("\\N", "\\\\N")
        return plain.encode("latin-1").decode("unicode_escape").encode("latin-1")
    except UnicodeError:
        raise Fault("a STRING with a broken escape") from None


def _unicode(state: State) -> str:
    try:
        return state.line().decode("raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise Fault(f"a UNICODE string with a broken escape ({error.reason})") from None


def _long(state: State) -> int:
    text = state.line()
    return _number(text[:-1] if text.endswith(b"L") else text, 0)


def _extension(width: int) -> Callable[[State], None]:
    def handler(state: State) -> None:
        start = state.pos
        state.pos += 1
        code = int.from_bytes(state.take(width), "little", signed=width == 4)
        if code <= 0:
            raise Fault("an extension code that is not positive")
        # What it names is known only to the process that loads the file: copyreg's registry.
        state.push_global("copyreg._inverted_registry", str(code), start)

    return handler


def _get(state: State) -> None:
    state.pos += 1
    index = _number(state.line(), 10)
    if index not in state.memo:
        raise Fault(f"memo entry {index} was never stored")
    state.stack.append(state.memo[index])


def _put(state: State) -> None:
    value = state.top()
    state.pos += 1
    index = _number(state.line(), 10)
    if index < 0:
        raise Fault("a negative memo index")
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


def _tuple3(state: State) -> None:
    if len(state.stack) < 3:
        raise underflow()
    state.stack[-3:] = [tuple(state.stack[-3:])]
    state.objects += 1
    state.pos += 1


def _list(state: State) -> None:
    items = state.pop_mark()
    state.stack.append(items)
    state.objects += 1
    state.pos += 1


def _dict(state: State) -> None:
    pairs = state.pop_mark()
    if len(pairs) % 2:
        raise Fault("an odd number of items for a dict")
    made: dict[Any, Any] = {}
    state.set_items(made, pairs)
    state.stack.append(made)
    state.objects += 1
    state.pos += 1


def _frozenset(state: State) -> None:
    items = state.pop_mark()
    state.stack.append(frozenset(state.hashable(item) for item in items))
    state.objects += 1
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
        raise Fault("an odd number of items for SETITEMS")
    if pairs:
        state.set_items(target, pairs)
    state.pos += 1


def _additems(state: State) -> None:
    items = state.pop_mark()
    target = state.top()
    if type(target) is set:
        target.update(state.hashable(item) for item in items)
    elif type(target) is list or type(target) is dict:
        raise Fault(f"adds members to a {type(target).__name__}")
    elif items:
        state.extend(target, items)
    state.pos += 1


def _global(state: State) -> None:
    start = state.pos
    state.pos += 1
    module = _utf8(state.line())
    name = _utf8(state.line())
    if not module or not name:
        raise Fault("a GLOBAL without a name")
    state.push_global(module, name, start)


def _stack_global(state: State) -> None:
    start = state.pos
    name = state.pop()
    module = state.pop()
    if type(name) is not str or type(module) is not str:
        raise Fault("a STACK_GLOBAL whose names are no strings")
    state.pos += 1
    state.push_global(module, name, start)


def _inst(state: State) -> None:
    start = state.pos
    args = tuple(state.pop_mark())
    state.pos += 1
    module, name = (_ascii(state.line()) for _ in range(2))
    state.push_global(module, name, start)
    state.push_call(state.pop(), args, "inst", start)


def _ascii(raw: bytes) -> str:
    if not raw or not raw.isascii():
        raise Fault("an INST whose names are empty or not ASCII")
    return raw.decode("ascii")


def _obj(state: State) -> None:
    items = state.pop_mark()
    if not items:
        raise underflow()
    state.push_call(_callable(items[0]), tuple(items[1:]), "obj", state.pos)
    state.pos += 1


def _reduce(state: State) -> None:
    args = state.pop()
    func = _callable(state.pop())
    state.push_call(func, _arguments(args), "reduce", state.pos)
    state.pos += 1


def _newobj(state: State) -> None:
    args = state.pop()
    cls = _callable(state.pop())
    state.push_call(cls, _arguments(args), "newobj", state.pos)
    state.pos += 1


def _newobj_ex(state: State) -> None:
    kwargs = state.pop()
    args = state.pop()
    cls = _callable(state.pop())
    if type(kwargs) is not dict and type(kwargs) is not Call:
        raise Fault(f"keyword arguments in a {type(kwargs).__name__}")
    state.push_call(cls, _arguments(args), "newobj_ex", state.pos).kwargs = kwargs
    state.pos += 1


def _callable(func: Any) -> Any:
    if type(func) in (Global, Call):
        return func
    raise Fault(f"calls a {type(func).__name__}")


def _arguments(args: Any) -> Any:
    if type(args) is tuple or type(args) is Call:
        return args
    raise Fault(f"call arguments in a {type(args).__name__}")


def _build(state: State) -> None:
    if len(state.stack) < 2:
        raise underflow()
    value = state.stack.pop()
    target = state.stack[-1]
    if type(target) is Call:
        if target.state is None:
            target.state = []
        state.uses.add(("build", target.func))
        target.state.append(value)
    elif type(target) is Global:
        state.plant(target, "sets attributes of")
    else:
        raise Fault(f"sets attributes of a {type(target).__name__}")
    state.pos += 1


def _persid(state: State) -> None:
    start = state.pos
    state.pos += 1
    text = state.line()
    if not text.isascii():
        raise Fault("a persistent id that is not ASCII")
    state.stack.append(state.persistent(text.decode("ascii"), start))


def _binpersid(state: State) -> None:
    state.stack[-1] = state.persistent(state.top(), state.pos)
    state.objects += 1
    state.pos += 1


def _proto(state: State) -> None:
    state.pos += 1
    protocol = state.take(1)[0]
    if protocol > _HIGHEST_PROTOCOL:
        raise Fault(f"pickle protocol {protocol}: the highest there is is {_HIGHEST_PROTOCOL}")
    state.protocol = protocol


def _frame(state: State) -> None:
    state.pos += 1
    size = int.from_bytes(state.take(8), "little")
    if size > len(state.data) - state.pos:
        raise Fault("a frame longer than the pickle", truncated=True)


def _next_buffer(state: State) -> None:
    raise Fault("asks for a buffer outside the file")


def _readonly_buffer(state: State) -> None:
    state.top()
    state.pos += 1


def _stop(state: State) -> bool:
    state.result = state.pop()
    state.pos += 1
    return True


def _unknown(state: State) -> None:
    raise Fault(f"byte 0x{state.data[state.pos]:02x} is no pickle opcode")


_COMMON: dict[int, Callable[[State], bool | None]] = {
    0x52: _reduce,
    0x51: _binpersid,
    0x75: _setitems,
    0x73: _setitem,
    0x61: _append,
    0x65: _appends,
    0x62: _build,
    0x63: _global,
    0x81: _newobj,
    0x87: _tuple3,
    0x7D: _push(lambda state: {}),
    0x5D: _push(lambda state: []),
    0x8F: _push(lambda state: set()),
    0x4E: _push(lambda state: None),
    0x88: _push(lambda state: True),
    0x47: _push(lambda state: _F64(state.take(8))[0]),
    0x8A: _push(lambda state: int.from_bytes(_counted(1)(state), "little", signed=True)),
    0x55: _push(_python2_text(_counted(1))),
    0x80: _proto,
    0x2E: _stop,
}

_RARE: dict[int, Callable[[State], bool | None]] = {
    0x30: _pop,
    0x31: _pop_mark,
    0x32: _dup,
    0x46: _push(_float),
    0x49: _push(_int),
    0x4C: _push(_long),
    0x53: _push(_python2_text(_string)),
    0x54: _push(_python2_text(_counted(4, signed=True))),
    0x56: _push(_unicode),
    0x42: _push(_counted(4)),
    0x43: _push(_counted(1)),
    0x8E: _push(_counted(8)),
    0x96: _push(lambda state: bytearray(_counted(8)(state))),
    0x8C: _push(lambda state: _utf8(_counted(1)(state), "surrogatepass")),
    0x8D: _push(lambda state: _utf8(_counted(8)(state), "surrogatepass")),
    0x8B: _push(lambda state: int.from_bytes(_counted(4, signed=True)(state), "little", signed=True)),
    0x50: _persid,
    0x64: _dict,
    0x67: _get,
    0x69: _inst,
    0x6C: _list,
    0x6F: _obj,
    0x70: _put,
    0x82: _extension(1),
    0x83: _extension(2),
    0x84: _extension(4),
    0x90: _additems,
    0x91: _frozenset,
    0x92: _newobj_ex,
    0x93: _stack_global,
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
ARGUMENT_BYTES = {0x72: 4, 0x4B: 1, 0x68: 1, 0x58: 4, 0x4D: 2, 0x4A: 4, 0x71: 1, 0x6A: 4}
