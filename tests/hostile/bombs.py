"""Small files that ask for much: shared parts, deep nesting, numbers and names without end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import pack

from tests.hostile import assemble as a
from tests.hostile.case import Case, raw
from tests.hostile.containers import Entry, safetensors_bytes, torch_zip, zipped

_TENSOR = a.tensor() + a.put(3) + a.POP  # memo entry 3
_BASE = 2**61 - 1  # Python's hash of an int is the int modulo this
_PARTS = (
    a.name("torch._utils", "_rebuild_tensor_v2")
    + a.put(1)
    + a.POP
    + a.row(a.storage(), a.number(0), a.row(a.number(4)), a.row(a.number(1)), b"\x89", a.NONE)
    + a.put(2)
    + a.POP
)
_FRESH = a.get(1) + a.get(2) + a.REDUCE  # one more tensor, in five bytes
_SPARSE = (
    a.name("torch._utils", "_rebuild_sparse_tensor")
    + a.put(4)
    + a.POP
    + a.call(a.name("torch.serialization", "_get_layout"), a.text("torch.sparse_coo"))
    + a.put(5)
    + a.POP
)


def _named(value: bytes, slot: int = 5) -> bytes:
    return value + a.put(slot) + a.POP


def _in_lists(depth: int, body: bytes) -> bytes:
    return a.EMPTY_LIST * depth + a.MARK + body + a.APPENDS + a.APPEND * (depth - 1)


def _module(children: bytes, parameters: bytes = b"") -> bytes:
    ordered = a.call(a.name("collections", "OrderedDict"))
    state = a.items(
        a.text("_modules"),
        a.items(children) if children else ordered,
        a.text("_parameters"),
        a.items(parameters) if parameters else ordered,
        a.text("_buffers"),
        ordered,
    )
    return a.name("torch.nn.modules.container", "Sequential") + a.EMPTY_TUPLE + a.NEWOBJ + state + a.BUILD


def _nested_modules(depth: int, step: bytes) -> bytes:
    made = _module(b"", a.text("weight") + a.get(3))
    for _ in range(depth):
        made = _module(step + made)
    return made


def _wrapped(func: bytes, depth: int, first: bytes) -> bytes:
    """func(func(func(...first))), built from the inside."""
    return (
        func
        + a.put(9)
        + a.POP
        + first
        + (a.put(8) + a.POP + a.get(9) + a.get(8) + a.TUPLE1 + a.REDUCE) * depth
    )


def _doubled(opcodes: bytes, times: int) -> bytes:
    """Each step holds the one before twice: 2**times ways to the first."""
    return (a.put(6) + a.POP + opcodes) * times


_TWICE = a.get(6) + a.get(6)
_BOMBS: dict[str, Callable[[], bytes]] = {
    "tuple DAG as a key": lambda: b"}" + b")" + b"2\x86" * 60 + b"Ns",
    "tuple DAG in a set": lambda: b"\x8f(" + b")" + b"2\x86" * 60 + b"\x90",
    "one tuple key very often": lambda: (
        b")" + b"2\x86" * 12 + _named(b"") + b"}(" + b"h\x05N" * 1_000_000 + b"u"
    ),
    "keys that collide": lambda: (
        b"}(" + b"".join(a.number(_BASE * i) + b"N" for i in range(1, 60_000)) + b"u"
    ),
    "members that collide": lambda: (
        b"\x8f(" + b"".join(a.number(_BASE * i) for i in range(1, 60_000)) + b"\x90"
    ),
    "deep keys that are equal": lambda: b"}(" + (b")" + b"\x85" * 5000 + b"N") * 2 + b"u",
    "list DAG with a tensor at its end": lambda: _TENSOR + a.get(3) + _doubled(b"](" + _TWICE + b"e", 60),
    "dict DAG with a tensor at its end": lambda: (
        _TENSOR + a.get(3) + _doubled(b"}(K\x00h\x06K\x01h\x06u", 60)
    ),
    "list DAG of nothing": lambda: b"]" + _doubled(b"](" + _TWICE + b"e", 60),
    "module DAG": lambda: b"N" + _doubled(_module(a.text("a") + a.get(6) + a.text("b") + a.get(6)), 60),
    "sparse tensor DAG": lambda: (
        _TENSOR
        + _SPARSE
        + a.get(3)
        + _doubled(a.call(a.get(4), a.get(5), a.row(_TWICE, a.row(a.number(4)))), 60)
    ),
    "nested tensor DAG": lambda: (
        _TENSOR
        + a.name("torch._utils", "_rebuild_nested_tensor")
        + a.put(4)
        + a.POP
        + a.get(3)
        + _doubled(a.call(a.get(4), _TWICE + _TWICE), 60)
    ),
    "Parameter of Parameters": lambda: (
        _TENSOR + _wrapped(a.name("torch.nn.parameter", "Parameter"), 5000, a.get(3))
    ),
    "set of sets": lambda: _wrapped(a.name("builtins", "set"), 5000, a.EMPTY_TUPLE),
    "device of devices": lambda: _wrapped(a.name("torch", "device"), 5000, a.text("cpu")),
    "OrderedDict of OrderedDicts": lambda: _wrapped(a.name("collections", "OrderedDict"), 5000, b"]"),
    "getattr of getattr": lambda: (
        a.name("builtins", "getattr")
        + _named(b"", 9)
        + a.name("a", "b")
        + (a.put(8) + a.POP + a.get(9) + a.get(8) + a.text("x") + a.TUPLE2 + a.REDUCE) * 100_000
    ),
    "cyclic list": lambda: b"]q\x00h\x00a",
    "cyclic dict": lambda: b"}q\x00K\x01h\x00s",
    "cyclic object": lambda: a.name("a", "b") + b")Rq\x00}(" + a.text("me") + b"h\x00ub",
    "cyclic module": lambda: (
        _module(a.text("x") + b"N")
        .replace(a.NEWOBJ, a.NEWOBJ + b"q\x07")
        .replace(a.text("x") + b"N", a.text("x") + b"h\x07")
    ),
    "object that is its own state": lambda: a.name("a", "b") + b")Rq\x00h\x00bh\x00h\x00b",
    "object that is its own item": lambda: a.name("a", "b") + b")Rq\x00h\x00ah\x00h\x00h\x00s",
    "name of 2 MB without a newline": lambda: b"c" + b"a" * 2_000_000,
    "line of 2 MB": lambda: b"c" + b"a" * 2_000_000 + b"\nb\n",
    "imported name of 20 MB": lambda: a.text("m") + a.text("n" * 20_000_000) + a.STACK_GLOBAL,
    "imported name of 100,000 dots": lambda: (
        a.text("torch.nn.modules.linear") + a.text("Linear" + ".a" * 100_000) + a.STACK_GLOBAL
    ),
    "LONG1 of 255 bytes": lambda: b"\x8a\xff" + b"\x7f" * 255,
    "LONG4 of 10 MB": lambda: a.number(1 << 80_000_000),
    "LONG4 of 2 GB told": lambda: b"\x8b\xff\xff\xff\x7f" + b"\1" * 99,
    "LONG4 of negative length": lambda: b"\x8b\xff\xff\xff\xff",
    "LONG of a million digits": lambda: b"L" + b"9" * 1_000_000 + b"L\n",
    "LONG of 65,000 hexadecimal digits": lambda: b"L0x" + b"f" * 65_000 + b"L\n",
    "INT of a million digits": lambda: b"I" + b"9" * 1_000_000 + b"\n",
    "huge number as a key": lambda: _TENSOR + b"}" + a.number(1 << 20_000) + a.get(3) + b"s",
    "huge number as a name in a module": lambda: _TENSOR + _module(b"", a.number(1 << 20_000) + a.get(3)),
    "huge number as a child of a module": lambda: _TENSOR + _nested_modules(1, a.number(1 << 20_000)),
    "huge number as a device": lambda: a.call(
        a.name("torch", "device"), a.text("cuda"), a.number(1 << 20_000)
    ),
    "huge number as a storage key": lambda: a.tensor(a.storage().replace(a.text("0"), a.number(1 << 20_000))),
    "huge number as metadata": lambda: (
        a.call(a.name("collections", "OrderedDict"))
        + a.items(a.text("_metadata"), a.items(a.number(1 << 20_000), b"}"))
        + a.BUILD
    ),
    "huge number in an array": lambda: (
        a.call(a.name("numpy.core.multiarray", "_reconstruct"), a.NONE)
        + a.row(a.number(1), a.row(a.number(1 << 20_000)), a.NONE, b"\x89", a.NONE)
        + a.BUILD
    ),
    "huge number as an argument": lambda: a.call(a.name("a", "b"), a.number(1 << 20_000)),
    "huge number in a shape": lambda: a.tensor(shape=(1 << 20_000,)),
    "huge BINBYTES8": lambda: b"\x8e" + pack("<Q", 2**62) + b"abc",
    "huge BYTEARRAY8": lambda: b"\x96" + pack("<Q", 2**62) + b"abc",
    "huge BINUNICODE8": lambda: b"\x8d" + pack("<Q", 2**64 - 1) + b"abc",
    "huge BINUNICODE": lambda: b"X\xff\xff\xff\xffabc",
    "huge memo index": lambda: b"Nr\xff\xff\xff\xff",
    "huge memo index as text": lambda: b"Np" + b"9" * 4000 + b"\n",
    "long text in 50,000 places": lambda: _named(a.text("k" * 70_000)) + b"](" + b"h\x05" * 50_000 + b"}e",
    "lists of long texts": lambda: (
        _named(a.text("k" * 70_000))
        + _named(b"](" + b"h\x05" * 60 + b"e", 6)
        + b"]("
        + b"h\x06" * 20_000
        + b"}e"
    ),
    "path of a million long parts": lambda: (
        _named(a.text("k" * 1_000_000)) + a.call(a.name("pathlib", "PosixPath"), b"h\x05" * 1_000_000)
    ),
    "device of a million long parts": lambda: (
        _named(a.text("k" * 1_000_000)) + a.call(a.name("torch", "device"), b"h\x05" * 1_000_000)
    ),
    "call with a million long arguments": lambda: (
        _named(a.text("k" * 1_000_000)) + a.call(a.name("a", "b"), b"h\x05" * 1_000_000)
    ),
    "attributes of long name from many imports": lambda: (
        _named(a.text("k" * 10_000_000))
        + _named(a.name("builtins", "getattr"), 6)
        + b"".join(b"h\x06" + a.name(f"m{i}", "n") + b"h\x05\x86R0" for i in range(500))
        + b"N"
    ),
    "long name resolved often": lambda: (
        _named(a.text("k." * 5_000_000))
        + _named(a.name("pkgutil", "resolve_name"), 6)
        + b"h\x06h\x05\x85R0" * 3000
        + b"N"
    ),
    "object with much state in many places": lambda: (
        _named(a.name("a", "b") + b")R}(" + b"".join(a.text(str(i)) + b"N" for i in range(30_000)) + b"ub")
        + b"]("
        + b"h\x05" * 100_000
        + b"e"
    ),
    "long list with a tensor in many places": lambda: (
        _TENSOR + _named(b"](h\x03" + b"NK\x01" * 200_000 + b"e") + b"](" + b"h\x05" * 2000 + b"e"
    ),
    "module with many settings in many places": lambda: (
        _named(_module(b"", b"") + a.items(*(a.text(str(i)) + b"N" for i in range(20_000))) + a.BUILD)
        + b"]("
        + b"h\x05" * 20_000
        + b"e"
    ),
    "long class name in many places": lambda: (
        _named(
            _module(b"", b"").replace(
                a.name("torch.nn.modules.container", "Sequential"),
                a.text("m") + a.text("n" * 5_000_000) + a.STACK_GLOBAL,
            )
        )
        + b"]("
        + b"h\x05" * 3000
        + b"e"
    ),
    "a million tensors in 5 bytes each": lambda: _PARTS + b"](" + _FRESH * 1_000_000 + b"e",
    "100,000 tensors 150 levels deep": lambda: _PARTS + _in_lists(150, _FRESH * 100_000),
    "20,000 state dicts 150 levels deep": lambda: (
        _PARTS + _in_lists(150, b"".join(b"}" + a.text("w") + _FRESH + b"s" for _ in range(20_000)))
    ),
    "numbers 190 levels deep": lambda: _in_lists(190, b"NK\x01}0" * 500_000 + b"}"),
    "long keys at every level": lambda: (
        _TENSOR + _named(a.text("k" * 1_000_000)) + b"}h\x05" * 190 + b"](h\x03h\x03h\x03h\x03e" + b"s" * 190
    ),
    "long module names at every level": lambda: (
        _TENSOR + _named(a.text("k" * 60_000)) + _nested_modules(190, a.get(5))
    ),
    "300 levels": lambda: _TENSOR + _in_lists(300, a.get(3)),
    "key of 500,000 dots": lambda: _TENSOR + b"}" + a.text("a." * 500_000) + a.get(3) + b"s",
    "metadata of 500,000 dots": lambda: (
        a.call(a.name("collections", "OrderedDict"))
        + a.items(a.text("_metadata"), a.items(a.text("a." * 500_000), b"}"))
        + a.BUILD
    ),
    "storage twice under a long name": lambda: (
        _named(a.text("k" * 1_000_000))
        + b"]("
        + b"".join(a.tensor(a.storage("0", i).replace(a.text("0"), a.get(5))) for i in range(300))
        + b"e"
    ),
}

# Where a cap must stop the reader, it must be named.
_LIMITS = {
    "tuple DAG as a key": "key_nodes",
    "tuple DAG in a set": "key_nodes",
    "list DAG with a tensor at its end": "repeats",
    "dict DAG with a tensor at its end": "repeats",
    "name of 2 MB without a newline": "name_bytes",
    "line of 2 MB": "name_bytes",
    "imported name of 20 MB": "name_bytes",
    "300 levels": "depth",
}


def _members(count: int, size: int, *, header: int | None = None) -> bytes:
    pickle = b"\x80\x02" + b"N0" * (size // 2)
    first = [Entry("a/data.pkl", a.whole(a.NONE)), Entry("a/version", b"3"), Entry("a/x", pickle, method=8)]
    at = len(zipped(first[:2])) - 22 - sum(46 + len(entry.name) for entry in first[:2])
    return zipped([*first, *(Entry(f"a/{i}", pickle, method=8, header=at) for i in range(count))])


def _directory(count: int) -> bytes:
    central = pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, count * len(central), 30, 0)
    return b"PK\3\4" + bytes(26) + central * count + end


_CONTAINERS: tuple[tuple[str, Callable[[], bytes], str], ...] = (
    (
        "deflated data.pkl of 1 GB",
        lambda: zipped(
            [Entry("a/data.pkl", bytes(70_000_000), method=8, nbytes=2**30), Entry("a/version", b"3")]
        ),
        "pickle_bytes",
    ),
    (
        "deflated data.pkl told small",
        lambda: zipped(
            [
                Entry("a/data.pkl", a.whole(b"N0" * 10_000_000 + b"N"), method=8, nbytes=100),
                Entry("a/version", b"3"),
            ]
        ),
        "",
    ),
    ("200 members that are one", lambda: _members(200, 20_000_000), ""),
    ("a million members of one byte", lambda: _directory(1_000_000), ""),
    (
        "JSON 100,000 levels deep",
        lambda: safetensors_bytes(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "",
    ),
    (
        "JSON strings of 50 MB",
        lambda: safetensors_bytes(b'{"__metadata__":{"a":"' + b"\\u00e9" * 8_000_000 + b'"}}'),
        "",
    ),
    (
        "safetensors header of empty objects",
        lambda: safetensors_bytes(b"{" + b",".join(b'"%d":{}' % i for i in range(1_000_000)) + b"}"),
        "",
    ),
    (
        "safetensors names of 500,000 dots",
        lambda: safetensors_bytes(
            b'{"' + b"a." * 500_000 + b'":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(16)
        ),
        "",
    ),
    (
        "safetensors shape of a million sizes",
        lambda: safetensors_bytes(
            b'{"w":{"dtype":"F32","shape":[' + b",".join([b"1"] * 1_000_000) + b'],"data_offsets":[0,4]}}',
            bytes(4),
        ),
        "",
    ),
)


def _zipped(build: Callable[[], bytes]) -> Callable[[Path], Path]:
    return torch_zip(lambda: a.whole(build()))


CASES = (
    *(
        Case(f"bomb: {name}", "exhaustion", _zipped(build), limit=_LIMITS.get(name, ""))
        for name, build in _BOMBS.items()
    ),
    *(Case(f"bomb: {name}", "exhaustion", raw(build), limit=limit) for name, build, limit in _CONTAINERS),
)
