"""Pickles of few kinds of opcode and very many of them: each must end early, or come out cheap."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from tests.hostile import assemble as a
from tests.hostile.case import Case, raw

_MANY = 2_600_000  # more than the limit of objects
_FUNC = a.name("some", "function") + a.put(0) + a.POP


def _listed(opcodes: bytes, times: int = _MANY, before: bytes = b"") -> Callable[[], bytes]:
    return lambda: a.whole(before + a.MARK + opcodes * times + a.LIST)


def _popped(opcodes: bytes, times: int = _MANY, before: bytes = b"") -> Callable[[], bytes]:
    return lambda: a.whole(before + opcodes * times + a.NONE)


_FLOODS: dict[str, Callable[[], bytes]] = {
    "empty lists": _listed(b"]"),
    "empty dicts": _listed(b"}"),
    "empty sets": _listed(b"\x8f"),
    "frozen sets": _listed(b"(K\x01\x91", 2_000_000),
    "sets of one": _listed(b"\x8f(N\x90", 1_500_000),
    "dicts of one": _listed(b"}NNs", 1_900_000),
    "lists of one": _listed(b"]Na"),
    "tuples of one": _listed(b"N\x85"),
    "tuples of three": _listed(b"NNN\x87", 1_900_000),
    "floats": _listed(b"G12345678"),
    "integers": _listed(b"J\x01\x02\x03\x04", 7_000_000),
    "integers of 24 bytes": _listed(b"\x8a\x18" + b"\x01" * 24, 1_000_000),
    "integers as text": _listed(b"I1234567\n"),
    "strings": _listed(a.text("a\u00e9")),
    "Unicode as text": _listed(b"Va\\u00e9\n"),
    "bytes": _listed(b"C\x02ab"),
    "byte arrays": _listed(b"\x96" + bytes(8)),
    "persistent ids": _listed(b"NQ"),
    "calls": _listed(b"h\x00)R", before=_FUNC),
    "calls with state": _listed(b"h\x00)R}b", 1_500_000, _FUNC),
    "calls with items": _listed(b"h\x00)R(NNu", 1_000_000, _FUNC),
    "calls with members": _listed(b"h\x00)RNa", 1_500_000, _FUNC),
    "calls appended one by one": lambda: a.whole(_FUNC + a.EMPTY_LIST + b"h\x00)Ra" * 1_900_000),
    "calls by NEWOBJ_EX": _listed(b"h\x00)}\x92", 1_900_000, _FUNC),
    "calls by INST": _listed(b"(ia\nb\n", 2_000_000),
    "calls of calls": lambda: a.whole(a.name("a", "b") + b")R" * 3_900_000),
    "new objects of new objects": lambda: a.whole(a.name("a", "b") + b")\x81" * 3_900_000),
    "states of one object": lambda: a.whole(a.name("a", "b") + b")R" + b"}b" * 3_900_000),
    "items set on an import": lambda: a.whole(a.name("a", "b") + b"NNs" * 2_500_000),
    "attributes set on an import": lambda: a.whole(a.name("a", "b") + b"Nb" * 3_900_000),
    "strings that are no UTF-8": _popped(b"U\x01\xff0"),
    "imports": lambda: a.whole(b"".join(b"ca\n%x\n0" % i for i in range(1_500_000)) + a.NONE),
    "imports from the stack": lambda: a.whole(
        a.text("m") + a.put(0) + b"".join(b"h\x00" + b"\x8c\x06%06x" % i + b"\x930" for i in range(
        1_200_000))),
    "extension codes": lambda: a.whole(b"".join(b"\x84" + pack("<i",
        i + 1) + b"0" for i in range(2_000_000))),
    "marks": _popped(b"(", 3_000_000),
    "marks of nothing": _popped(b"(0", 3_900_000),
    "memo entries": lambda: a.whole(b"N" + b"".join(a.put(i * 1601) for i in range(2_600_000))),
    "memo by MEMOIZE": lambda: a.whole(b"N" + b"\x94" * 4_000_000),
    "one memo entry": lambda: a.whole(b"N" + b"q\x00" * 7_900_000),
    "gets": lambda: a.whole(b"Nq\x00" + b"h\x000" * 3_900_000),
    "duplicates": lambda: a.whole(b"N" + b"2" * 7_900_000),
    "frames": lambda: a.whole(b"\x95" + bytes(8) + (b"\x95" + bytes(8)) * 3_000_000 + b"N"),
    "nested lists": lambda: a.whole(b"]" * 1_200_000 + b"a" * 1_199_999),
    "nested tuples": lambda: a.whole(b")" + b"\x85" * 2_400_000),
    "nested calls": lambda: a.whole(_FUNC + b")" + b"q\x010h\x00h\x01\x85R" * 800_000),
    "nested persistent ids": lambda: a.whole(b"N" + b"Q" * 2_400_000),
    "protocols": lambda: a.whole(b"\x80\x02" * 7_900_000 + b"N"),
    "pickles in a row": lambda: a.whole(b"N") * 3_000_000,
    "a pickle of 100 MB": lambda: a.whole(b"B" + pack("<I", 10**8) + bytes(10**8)),
}  # fmt: skip

CASES = tuple(Case(f"flood: {name}", "exhaustion", raw(build)) for name, build in _FLOODS.items())
