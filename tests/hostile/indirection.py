"""Pickles that reach what runs code by a detour: resolvers, attributes, the memo, odd opcodes."""

from __future__ import annotations

from collections.abc import Callable

from tests.hostile import assemble as a
from tests.hostile.callables import Payload, at_marker, in_zip, shell
from tests.hostile.case import Case
from tests.hostile.containers import torch_zip_bytes

_OS_SYSTEM = a.name("posix", "system")


def _got(module: str, attribute: str) -> bytes:
    return a.call(a.name("builtins", "getattr"), a.name(*module.rsplit(".", 1)), a.text(attribute))


def _reached(marker: str, func: bytes) -> bytes:
    return a.call(func, shell(marker))


def _module(name: str) -> bytes:
    return a.call(a.name("importlib", "import_module"), a.text(name))


def _methodcaller(marker: str) -> bytes:
    caller = a.call(a.name("operator", "methodcaller"), a.text("system"), shell(marker))
    return a.call(caller, _module("os"))


def _attrgetter(marker: str) -> bytes:
    getter = a.call(a.name("operator", "attrgetter"), a.text("system"))
    return _reached(marker, a.call(getter, _module("os")))


def _mapped(module: str, attribute: str) -> Payload:
    def payload(marker: str) -> bytes:
        lazy = a.call(a.name(module, attribute), _OS_SYSTEM, a.row(shell(marker)))
        return a.call(a.name("builtins", "list"), lazy)

    return payload


def _partial(marker: str) -> bytes:
    return a.call(a.call(a.name("functools", "partial"), _OS_SYSTEM, shell(marker)))


def _rebuilt(marker: str) -> bytes:
    # torch's own function calls its first argument on the third.
    func = a.name("torch._tensor", "_rebuild_from_type_v2")
    return a.call(func, _OS_SYSTEM, a.name("torch", "Tensor"), a.row(shell(marker)), a.items())


def _generator(marker: str) -> bytes:
    return a.call(a.name("numpy.random._pickle", "__generator_ctor"), shell(marker), _OS_SYSTEM)


def _slots(marker: str) -> bytes:
    # BUILD with (None, {name: value}) sets attributes one by one on what was imported.
    state = a.row(a.NONE, a.items(a.text("path"), _OS_SYSTEM))
    return a.name("os", "fake") + state + a.BUILD


def _planted(marker: str) -> bytes:
    state = a.items(a.text("__setstate__"), _OS_SYSTEM)
    made = a.name("someone.elses", "Thing") + a.EMPTY_TUPLE + a.NEWOBJ
    return made + state + a.BUILD + shell(marker) + a.BUILD


def _memo_overwritten(marker: str) -> bytes:
    # The decoy goes to entry 0, then a MEMOIZE with one entry held goes to 1, then 0 is overwritten.
    decoy = a.name("collections", "OrderedDict") + a.put(0) + a.POP
    return decoy + a.NONE + a.MEMOIZE + a.POP + _OS_SYSTEM + a.put(0) + a.POP + _reached(marker, a.get(0))


def _memo_counted(marker: str) -> bytes:
    # MEMOIZE counts entries and not the highest index: after PUT 5 it writes to 1.
    start = a.NONE + a.put(5) + a.POP + a.text("decoy") + a.MEMOIZE + a.POP
    return start.replace(a.text("decoy"), _OS_SYSTEM) + _reached(marker, a.get(1))


def _decoy_popped(marker: str) -> bytes:
    return _OS_SYSTEM + a.name("collections", "OrderedDict") + a.POP + a.row(shell(marker)) + a.REDUCE


def _decoy_marked(marker: str) -> bytes:
    return _OS_SYSTEM + a.MARK + a.name("collections", "OrderedDict") + b"1" + a.row(shell(marker)) + a.REDUCE


def _duplicated(marker: str) -> bytes:
    return _OS_SYSTEM + a.DUP + a.POP + a.row(shell(marker)) + a.REDUCE


def _inst(marker: str) -> bytes:
    return a.MARK + shell(marker) + b"iposix\nsystem\n"


def _obj(marker: str) -> bytes:
    return a.MARK + _OS_SYSTEM + shell(marker) + a.OBJ


def _newobj(marker: str) -> bytes:
    return a.name("subprocess", "Popen") + a.row(shell(marker)) + a.NEWOBJ


def _newobj_ex(marker: str) -> bytes:
    kwargs = a.items(a.text("shell"), b"\x88")
    return a.name("subprocess", "Popen") + a.row(shell(marker)) + kwargs + a.NEWOBJ_EX


def _stack_global(module: bytes, attribute: bytes) -> Payload:
    def payload(marker: str) -> bytes:
        return b"\x80\x04" + _reached(marker, module + attribute + a.STACK_GLOBAL)

    return payload


def _text_only(marker: str) -> bytes:
    return f"cposix\nsystem\np0\n(Vecho > '{marker}'\np1\ntp2\nRp3\n".encode()


def _in_state(marker: str) -> bytes:
    tensor = a.name("torch._utils", "_rebuild_parameter_with_state")
    return a.call(
        tensor,
        a.tensor(),
        b"\x88",
        a.call(a.name("collections", "OrderedDict")),
        _reached(marker, _OS_SYSTEM),
    )


def _in_persistent_id(marker: str) -> bytes:
    return a.row(a.text("storage"), _reached(marker, _OS_SYSTEM), a.text("0")) + a.PERSID


def _harmless_first(opcodes: bytes) -> Payload:
    # What C takes in its stride must not stop a reader before the payload.
    return lambda marker: opcodes + a.POP + _reached(marker, _OS_SYSTEM)


def _inner(marker: str) -> bytes:
    return torch_zip_bytes(a.whole(_reached(marker, _OS_SYSTEM)))


def _embedded(load: Callable[[bytes, bytes], bytes]) -> Payload:
    # torch.storage._load_from_bytes is torch.load on bytes, and that without weights_only.
    func = a.name("torch.storage", "_load_from_bytes")

    def payload(marker: str) -> bytes:
        inner = _inner(marker)
        return load(func, b"B" + len(inner).to_bytes(4, "little") + inner)

    return payload


def _encoded(codec: str) -> Payload:
    def payload(marker: str) -> bytes:
        func, inner = a.name("torch.storage", "_load_from_bytes"), _inner(marker)
        if codec == "utf-16-le":
            inner += bytes(len(inner) % 2)
        encoded = a.text(inner.decode(codec, "surrogatepass" if codec == "utf-16-le" else "strict"))
        return a.call(
            func, a.call(a.name("_codecs", "encode"), encoded, a.text(codec), a.text("surrogatepass"))
        )

    return payload


def _by_rebuild(func: bytes, data: bytes) -> bytes:
    rebuild = a.name("torch._tensor", "_rebuild_from_type_v2")
    return a.call(rebuild, func, a.name("torch", "Tensor"), a.row(data), a.items())


_LOADERS: dict[str, Payload] = {
    "bytes": _embedded(a.call),
    "bytes, by OBJ": _embedded(lambda func, data: a.MARK + func + data + a.OBJ),
    "bytes, popped": _embedded(lambda func, data: a.call(func, data) + a.POP + a.NONE),
    "bytes as a key": _embedded(lambda func, data: a.EMPTY_DICT + a.call(func, data) + a.NONE + a.SETITEM),
    "bytes of bytes": _embedded(lambda func, data: a.call(func, a.call(a.name("builtins", "bytes"), data))),
    "bytes, by numpy": _embedded(
        lambda func, data: a.call(a.name("numpy.random._pickle", "__generator_ctor"), data, func)),
    "bytes, by torch": _embedded(_by_rebuild),
    "text": _encoded("latin1"),
    "text by another name": _encoded("iso8859_1"),
    "wide text": _encoded("utf-16-le"),
}  # fmt: skip

_NULLS = b"I1\x00 hidden\n"
_SYSTEM = ("posix.system",)
_DETOURS: dict[str, tuple[Payload, tuple[str, ...], tuple[str, ...]]] = {
    "getattr on a module": (
        lambda marker: _reached(marker, a.call(a.name("builtins", "getattr"), _module("os"),
        a.text("system"))),
        ("importlib.import_module", "os.*"), ("importlib.import_module",)),
    "getattr on a class": (
        lambda marker: _reached(marker, _got("os._wrap_close", "__init__")), ("os._wrap_close",), ()),
    "pkgutil.resolve_name": (
        lambda marker: _reached(marker, a.call(a.name("pkgutil", "resolve_name"), a.text("os:system"))),
        ("pkgutil.resolve_name", "os.system"), ("pkgutil.resolve_name", "os.system")),
    "pydoc.locate": (
        lambda marker: _reached(marker, a.call(a.name("pydoc", "locate"), a.text("os.system"))),
        ("pydoc.locate", "os.system"), ("pydoc.locate", "os.system")),
    "methodcaller": (_methodcaller, ("operator.methodcaller", "importlib.import_module"),
        ("operator.methodcaller",)),
    "attrgetter": (_attrgetter, ("operator.attrgetter",), ("operator.attrgetter",)),
    "map": (_mapped("builtins", "map"), ("builtins.map", *_SYSTEM), ("builtins.map",)),
    "filter": (_mapped("builtins", "filter"), ("builtins.filter", *_SYSTEM), ("builtins.filter",)),
    "Python 2 map": (_mapped("itertools", "imap"), ("builtins.map", *_SYSTEM), ("builtins.map",)),
    "itertools.starmap": (_mapped("itertools", "starmap"), ("itertools.starmap", *_SYSTEM),
        ("itertools.starmap",)),
    "partial": (_partial, _SYSTEM, ()),
    "torch's own rebuild function": (_rebuilt, _SYSTEM, _SYSTEM),
    "numpy's own rebuild function": (_generator, _SYSTEM, _SYSTEM),
    "slots of an import": (_slots, ("os.fake", *_SYSTEM), ("os.fake",)),
    "planted __setstate__": (_planted, ("someone.elses.Thing", *_SYSTEM), ("someone.elses.Thing",)),
    "memo entry overwritten": (_memo_overwritten, _SYSTEM, _SYSTEM),
    "MEMOIZE after PUT": (_memo_counted, _SYSTEM, _SYSTEM),
    "popped decoy": (_decoy_popped, _SYSTEM, _SYSTEM),
    "decoy behind a MARK": (_decoy_marked, _SYSTEM, _SYSTEM),
    "duplicate": (_duplicated, _SYSTEM, _SYSTEM),
    "INST": (_inst, _SYSTEM, _SYSTEM),
    "OBJ": (_obj, _SYSTEM, _SYSTEM),
    "NEWOBJ": (_newobj, ("subprocess.Popen",), ("subprocess.Popen",)),
    "NEWOBJ_EX": (_newobj_ex, ("subprocess.Popen",), ("subprocess.Popen",)),
    "dotted STACK_GLOBAL": (
        _stack_global(a.text("torch.serialization"), a.text("os.system")),
        ("torch.serialization.os.system",), ("torch.serialization.os.system",)),
    "names as BINUNICODE8": (
        _stack_global(b"\x8d\x05" + bytes(7) + b"posix", b"\x8c\x06system"), _SYSTEM, _SYSTEM),
    "names as Python 2 strings": (_stack_global(b"U\x05posix", b"S'sys\\x74em'\n"), _SYSTEM, _SYSTEM),
    "names as escaped UNICODE": (_stack_global(b"V\\u0070osix\n", b"Vsy\\u0073tem\n"), _SYSTEM, _SYSTEM),
    "protocol 0": (_text_only, _SYSTEM, _SYSTEM),
    "state of a tensor": (_in_state, _SYSTEM, _SYSTEM),
    "persistent id": (_in_persistent_id, _SYSTEM, _SYSTEM),
    "INT in hexadecimal first": (_harmless_first(b"I0x10\n"), _SYSTEM, _SYSTEM),
    "octal INT first": (_harmless_first(b"I010\n"), _SYSTEM, _SYSTEM),
    "INT with a NUL first": (_harmless_first(_NULLS), _SYSTEM, _SYSTEM),
    "LONG with a NUL first": (_harmless_first(b"L1\x00 hidden\n"), _SYSTEM, _SYSTEM),
    "FLOAT with a NUL first": (_harmless_first(b"F1\x00 hidden\n"), _SYSTEM, _SYSTEM),
    "GET with a NUL first": (_harmless_first(b"Np0\x00\ng0\x00 hidden\n0"), _SYSTEM, _SYSTEM),
    "item of a list set first": (_harmless_first(b"]NaK\x00K\x07s"), _SYSTEM, _SYSTEM),
    "empty BUILD of a list first": (_harmless_first(b"]Nb"), _SYSTEM, _SYSTEM),
    "empty BUILD of a number first": (_harmless_first(b"K\x01N}\x86b"), _SYSTEM, _SYSTEM),
    "append to a bytearray first": (
        _harmless_first(b"\x96" + bytes(8) + b"K\x07a"), _SYSTEM, _SYSTEM),
    "no members for a list first": (_harmless_first(b"](\x90"), _SYSTEM, _SYSTEM),
    "Python 2 string first": (_harmless_first(b"U\x02\xc3\xa9"), _SYSTEM, _SYSTEM),
    "octal escape over 255 first": (_harmless_first(b"S'\\501'\n"), _SYSTEM, _SYSTEM),
}  # fmt: skip

_EMBEDDED = tuple(
    Case(f"a file within: {how}", "payload", at_marker(payload, in_zip), ("torch.storage._load_from_bytes",))
    for how, payload in _LOADERS.items()
)

CASES = (
    _EMBEDDED
    + tuple(
        Case(f"detour: {how}", "payload", at_marker(payload, in_zip), names, called)
        for how, (payload, names, called) in _DETOURS.items()
    )
    + (
        Case(
            "detour: extension code",
            "payload",
            at_marker(lambda marker: _reached(marker, b"\x82\x07"), in_zip),
            ("copyreg._inverted_registry.7",),
            ("copyreg._inverted_registry.7",),
        ),
        Case(
            "detour: an extension code of four bytes",
            "payload",
            at_marker(lambda marker: _reached(marker, b"\x84\x07\x00\x00\x01"), in_zip),
            ("copyreg._inverted_registry.16777223",),
            ("copyreg._inverted_registry.16777223",),
        ),
    )
)
