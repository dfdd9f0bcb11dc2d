"""An assembler of pickles: one small function an opcode, bytes out."""

from __future__ import annotations

from struct import pack

PROTO2, PROTO4 = b"\x80\x02", b"\x80\x04"
MARK, STOP, REDUCE, BUILD, POP, DUP, EMPTY_TUPLE = b"(", b".", b"R", b"b", b"0", b"2", b")"
EMPTY_LIST, EMPTY_DICT, EMPTY_SET, NONE = b"]", b"}", b"\x8f", b"N"
TUPLE, TUPLE1, TUPLE2, TUPLE3, LIST, DICT = b"t", b"\x85", b"\x86", b"\x87", b"l", b"d"
APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS = b"a", b"e", b"s", b"u", b"\x90"
OBJ, NEWOBJ, NEWOBJ_EX, STACK_GLOBAL, MEMOIZE, PERSID = b"o", b"\x81", b"\x92", b"\x93", b"\x94", b"Q"


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def text(value: str | bytes) -> bytes:
    """BINUNICODE."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"X" + pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """BININT1, BININT, LONG1 or LONG4, whichever fits."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    head = b"\x8a" + bytes([len(data)]) if len(data) < 256 else b"\x8b" + pack("<i", len(data))
    return head + data


def put(index: int) -> bytes:
    """LONG_BINPUT."""
    return b"r" + pack("<I", index)


def get(index: int) -> bytes:
    """BINGET or LONG_BINGET."""
    return b"h" + bytes([index]) if index < 256 else b"j" + pack("<I", index)


def row(*items: bytes) -> bytes:
    """A tuple."""
    return MARK + b"".join(items) + TUPLE


def call(func: bytes, *args: bytes) -> bytes:
    """`func(*args)` by REDUCE."""
    return func + row(*args) + REDUCE


def items(*pairs: bytes) -> bytes:
    """A dict of keys and values in turn."""
    return EMPTY_DICT + MARK + b"".join(pairs) + SETITEMS


def storage(key: str = "0", numel: int = 4, kind: str = "FloatStorage", device: str = "cpu") -> bytes:
    """torch's persistent id of a storage, loaded."""
    return row(text("storage"), name("torch", kind), text(key), text(device), number(numel)) + PERSID


def tensor(
    memory: bytes | None = None,
    shape: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
) -> bytes:
    """A dense tensor as torch.save writes it."""
    sizes = row(*map(number, shape)), row(*map(number, stride))
    hooks = call(name("collections", "OrderedDict"))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, storage() if memory is None else memory, number(offset), *sizes, b"\x89", hooks)


def whole(body: bytes, proto: bytes = PROTO2) -> bytes:
    """A complete pickle."""
    return proto + body + STOP
