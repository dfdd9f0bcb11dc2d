"""The machine against C `_pickle`, on bytes made here: the same success, values, names in order.

The C side runs with a `find_class` and a `persistent_load` that hand out inert stand-ins, so nothing that
a pickle names is ever imported or called.
"""

from __future__ import annotations

import io
import pickle
from struct import pack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.state import State
from ckptaudit.readers.pickle.symbols import Call, Global, How, Persistent

# Names whose mapping from Python 2 is asked of C itself; importing any of them does nothing.
_MAPPED = {("__builtin__", "set"), ("copy_reg", "_reconstructor"), ("UserDict", "UserDict"), ("__builtin__",
"xrange"),
           ("itertools", "izip"), ("collections", "OrderedDict"), ("builtins", "set")}  # fmt: skip


class _Meta(type):
    what: tuple[Any, ...]
    state: list[Any]
    items: list[Any]
    pairs: dict[Any, Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _made("reduce", cls, args, kwargs)

    def __setstate__(cls, state: Any) -> None:
        cls.state.append(state)

    def append(cls, item: Any) -> None:
        cls.items.append(item)

    def extend(cls, items: Any) -> None:
        cls.items.extend(items)

    def add(cls, item: Any) -> None:
        cls.items.append(item)

    def __setitem__(cls, key: Any, value: Any) -> None:
        if cls.what[0] != "global":  # an import may take any key; what a call gave is taken for a mapping
            cls.pairs[key] = value


class _StandIn(metaclass=_Meta):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _made("newobj", cls, args, kwargs)


def _stand_in(what: tuple[Any, ...]) -> Any:
    own = {"what": what, "state": [], "items": [], "pairs": {}}
    return type.__call__(_Meta, "StandIn", (_StandIn,), own)


def _made(how: str, func: Any, args: Any, kwargs: Any) -> Any:
    return _stand_in(("call", how, func, args, kwargs))


class _C(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        # As torch.load does: a file object, and Python 2 strings as UTF-8.
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.asked: list[tuple[str, str]] = []
        self.known: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        asked = (module, name)
        if asked in _MAPPED:
            found = super().find_class(module, name)
            asked = (found.__module__.replace("_collections_abc", "collections"), found.__qualname__)
        if asked not in self.known:
            self.asked.append(asked)
            self.known[asked] = _stand_in(("global", *asked))
        return self.known[asked]

    def persistent_load(self, pid: Any) -> Any:
        return _stand_in(("persistent", pid))


def _plain(value: Any, seen: tuple[int, ...] = ()) -> Any:
    """A value of either side as nested tuples that compare."""
    if id(value) in seen:
        return ("again", len(seen) - seen.index(id(value)))
    seen = (*seen, id(value))
    if isinstance(value, (Global, Call, Persistent)):
        return _symbol(value, seen)
    if isinstance(value, _Meta):
        return _stood(value, seen)
    if type(value) in (set, frozenset):
        return (type(value).__name__, *sorted((_plain(item, seen) for item in value), key=repr))
    if type(value) is dict:
        return ("dict", *((_plain(key, seen), _plain(item, seen)) for key, item in value.items()))
    if type(value) in (list, tuple):
        return (type(value).__name__, *(_plain(item, seen) for item in value))
    if type(value) is memoryview:  # READONLY_BUFFER of a bytearray: the same bytes
        return ("bytearray", repr(bytearray(value)))
    return (type(value).__name__, repr(value))


def _changes(state: Any, items: Any, pairs: Any, seen: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(_plain(part, seen) for part in (list(state or ()), list(items or ()), dict(pairs or {})))


def _symbol(value: Global | Call | Persistent, seen: tuple[int, ...]) -> Any:
    if isinstance(value, Global):
        return ("global", value.module, value.name)
    if isinstance(value, Persistent):
        return ("persistent", _plain(value.pid, seen))
    how = (
        "newobj"
        if value.how.startswith("newobj") or (value.how in ("obj", "inst") and not value.args)
        else "reduce"
    )
    called = (_plain(value.func, seen), _plain(value.args, seen), _plain(value.kwargs or {}, seen))
    return ("call", how, *called, *_changes(value.state, value.items, value.pairs, seen))


def _stood(value: Any, seen: tuple[int, ...]) -> Any:
    what = value.what
    if what[0] == "global":
        return what
    if what[0] == "persistent":
        return ("persistent", _plain(what[1], seen))
    _, how, func, args, kwargs = what
    called = (_plain(func, seen), _plain(args, seen), _plain(kwargs, seen))
    return ("call", how, *called, *_changes(value.state, value.items, value.pairs, seen))


def _by_c(data: bytes) -> tuple[bool, Any, list[tuple[str, str]]]:
    unpickler = _C(data)
    try:
        value = unpickler.load()
    except Exception:
        return False, None, unpickler.asked
    return True, _plain(value), unpickler.asked


def _by_us(data: bytes) -> tuple[bool, Any, list[tuple[str, str]]]:
    pickled = run(data, 0, Limits())
    asked = [(found.module, found.name) for found in pickled.globals]
    return (True, _plain(pickled.value), asked) if pickled.fault is None else (False, None, asked)


_G = b"cm\nn\n"
_M4, _M8 = pack("<I", 2**32 - 1), pack("<Q", 2**63)
_SAME: tuple[bytes, ...] = (
    # the first STOP ends it; a MARK hides what lies below
    b".", b"N.", b"N.N", b"N.\xff", b"(N.", b"N(.", b"", b"N", b"\xff.", b"\x00.", b"(", b"NN.",
    # INT and its kin
    *(b"I" + text + b"\n." for text in (b"1", b"-1", b"+1", b"00", b"01", b"02", b"010", b"0x10", b"0X1f",
    b"0o17",
      b"0b11", b"08", b"1_000", b"_1", b" 1", b"1 ", b"\t7\t", b"", b" ", b"-", b"1L", b"True",
      b"99999999999999999999",
      b"1\x00junk", b"\x001", b"0x", b"+0", b" 01", b"-0", b"1.0", b"\xd9\xa1", b"01\r", b"1\r")),
    *(b"L" + text + b"\n." for text in (b"1", b"1L", b"-5L", b"5LL", b"L", b"", b"0x10L", b"010L", b"0L",
    b"1_0L", b" 1 L",
      b"1 ", b"1\x00L", b"1\x00junkL", b"99999999999999999999L")),
    *(b"F" + text + b"\n." for text in (b"1", b"1.5", b"-1e5", b"nan", b"inf", b"-Infinity", b"1_0", b" 1",
    b"1 ", b"",
      b"0x1p3", b"1e", b"1\x00junk", b".5", b"5.", b"+.5e-3", b"1e400", b"-1e400", b"1e-400", b"1\r",
      b"infinit")),
    *(b"S" + text + b"\n." for text in (b"'a'", b'"a"', b"'a\"", b"a", b"", b"'", b"''", b"'a' ", b" 'a'",
    b"'a'\r",
      b"'a\\n'", b"'\\x41'", b"'\\x4'", b"'\\101'", b"'\\7'", b"'\\501'", b"'\\q'", b"'\\\\'", b"'\\'",
      b"'a'b'",
      b"'\\u0041'", b"'\\\\u0041'", b"'\\N{DASH}'", b"'\\\\\\u0041'", b"'\\''", b"'a'\t")),
    *(b"V" + text + b"\n." for text in (b"a", b"", b"\\u0041", b"\\U0001F600", b"\\u004", b"\\x41",
    b"\\ud800", b"\xe9",
      b"\\\\u0041", b"\\U00110000", b"\x00")),
    # counted strings, numbers and bytes
    b"U\x02ab.", b"U\x02a.", b"U\x00.", b"T\x02\x00\x00\x00ab.", b"T\xff\xff\xff\xff.",
    b"T\x05\x00\x00\x00ab.",
    b"X\x02\x00\x00\x00\xc3\xa9.", b"X\x02\x00\x00\x00\xc3.", b"X\x01\x00\x00\x00\xc3.", b"X" + _M4 + b"a.",
    b"X\x01\x00",
    b"X\x03\x00\x00\x00\xed\xa0\x80.", b"\x8c\x03\xed\xa0\x80.", b"\x8c\x01\xff.", b"\x8d" + _M8 + b".",
    b"\x8d\x01" + bytes(7) + b"a.", b"B\x01\x00\x00\x00a.", b"B" + _M4 + b".", b"C\x02a.", b"C\x01a.",
    b"\x8e" + _M8 + b".",
    b"\x8e\x01" + bytes(7) + b"a.", b"\x96" + _M8 + b".", b"\x96\x01" + bytes(7) + b"a.", b"\x8a\x00.",
    b"\x8a\x01\xff.",
    b"\x8a\x02\xff.", b"\x8b\x00\x00\x00\x00.", b"\x8b\xff\xff\xff\xff.", b"\x8b\x02\x00\x00\x00\x01\x80.",
    b"\x8b\xff\xff\xff\x7f.",
    b"G?\xf0\x00\x00\x00\x00\x00\x00.", b"G?\xf0.", b"J\xff\xff\xff\xff.", b"J\xff.", b"K\xff.", b"K",
    b"M\xff\xff.", b"M\xff",
    b"\x88.", b"\x89.",
    # protocol and frames
    b"\x80\x00N.", b"\x80\x05N.", b"\x80\x06N.", b"\x80\xffN.", b"\x80", b"N\x80\x02.", b"\x80\x04\x80\x00N.",
    b"\x80\x04\x95\x02" + bytes(7) + b"N.", b"\x80\x04\x95\x01" + bytes(7) + b"N.",
    b"\x80\x04\x95\x03" + bytes(7) + b"N.",
    b"\x80\x04\x95\x00" + bytes(7) + b"N.", b"\x95" + _M8 + b"N.",
    b"\x95\x02" + bytes(7) + b"\x95\x01" + bytes(7) + b"N.",
    b"\x97.", b"N\x98.", b"\x96\x01" + bytes(7) + b"a\x98.", b"C\x01a\x98.", b"\x98.",
    # stack
    b"0.", b"N0.", b"(0N.", b"(N0N.", b"N(0.", b"(00N.", b"1.", b"(1N.", b"(NN1N.", b"N1.", b"2.",
    b"N2\x86.", b"(2.", b"N(2.",
    # containers
    b").", b"].", b"}.", b"\x8f.", b"(t.", b"(NK\x01t.", b"t.", b"N\x85.", b"\x85.", b"N(\x85.", b"NN\x86.",
    b"N\x86.", b"N(N\x86.",
    b"NNN\x87.", b"NN\x87.", b"(l.", b"(NNl.", b"l.", b"(d.", b"(NNd.", b"(Nd.", b"(NK\x01K\x02d.",
    b"(]Nd.", b"((t]d.",
    b"(\x91.", b"(N\x91.", b"(]\x91.", b"(NN\x91.", b"\x91.", b"(}\x91.", b"(\x8f\x91.", b"(((]tt\x91.",
    b"]Na.", b"a.", b"]a.", b"Na.", b"NNa.", b"](a.", b"](NNe.", b"](e.", b"N(e.", b"N(Ne.", b"(Ne.", b"e.",
    b"}Na.", b")Na.",
    b"\x8fNa.", b"\x8f(Ne.", b"\x96" + bytes(8) + b"K\x07a.", b"\x96" + bytes(8) + b"(K\x07K\x08e.",
    b"\x96" + bytes(8) + b"Na.",
    b"}NNs.", b"}Ns.", b"}s.", b"}]Ns.", b"})Ns.", b"}]\x85Ns.", b"}\x8fNs.", b"}(\x91Ns.", b"}(NNu.",
    b"}(Nu.", b"}(u.", b"N(u.",
    b"N(NNu.", b"(NNu.", b"]K\x00Ns.", b"]NaK\x00K\x07s.", b"]Na(K\x00K\x07u.", b"]NaK\x05K\x07s.",
    b")K\x00Ns.", b"NNNs.",
    b"\x96\x01" + bytes(7) + b"aK\x00K\x07s.", b"}K\x01Ns\x88K\x02s.", b"}G\x7f\xf8" + bytes(6) + b"Ns.",
    b"\x8f(N\x90.", b"\x8f(\x90.", b"\x8f(]\x90.", b"](N\x90.", b"](\x90.", b"N(\x90.", b"}(N\x90.",
    b"(N\x90.", b"\x90.",
    b"(\x91(N\x90.", b"}\x96" + bytes(8) + b"Ns.",
    # memo
    b"Nq\x00h\x00\x86.", b"h\x00.", b"q\x00.", b"N(q\x00.", b"Nr\x00\x00\x01\x00j\x00\x00\x01\x00\x86.",
    b"j\xff\xff\xff\x00.",
    b"Np0\ng0\n\x86.", b"Np-1\n.", b"Npx\n.", b"Np\n.", b"Np 1 \ng1\n\x86.", b"Np1_0\ng10\n\x86.",
    b"Np0x1\n.", b"g0\n.", b"g-1\n.",
    b"Np0\x00junk\ng0\n\x86.", b"p0\n.", b"N\x94h\x00\x86.", b"\x94.", b"Nq\x05K\x01\x94h\x01\x86.",
    b"Nq\x00K\x01q\x00h\x00\x86.",
    b"K\x01\x94K\x02q\x01K\x03\x94h\x02\x87.", b"Nq\x000K\x07\x94h\x01\x86.", b"]q\x00h\x00a.",
    b"]\x94h\x00\x85a.",
    b"Np99999999999999999999\n.", b"N(K\x01\x94th\x00\x86.",
    # names
    _G + b".", b"c\nn\n.", b"cm\n\n.", b"cm\nn", b"cm\n", b"cm", b"c", b"cm\nn.", b"c\xc3\xa9\nn\n.",
    b"c\xff\nn\n.", b"cm\n\xff\n.",
    b"cm \n n\n.", b"cm\r\nn\r\n.", b"cm\x00x\nn\n.", b"c__builtin__\nset\n.", b"\x80\x03cbuiltins\nset\n.",
    b"ccopy_reg\n_reconstructor\n.",
    b"cUserDict\nUserDict\n.", b"c__builtin__\nxrange\n.", b"citertools\nizip\n.",
    b"\x80\x02c__builtin__\nset\n.",
    b"X\x01\x00\x00\x00mX\x01\x00\x00\x00n\x93.", b"U\x01mU\x01n\x93.", b"C\x01mC\x01n\x93.", b"NN\x93.",
    b"\x93.",
    b"U\x01m(U\x01n\x93.", b"U\x00U\x00\x93.", b"X\x01\x00\x00\x00mN\x93.", _G + _G + b"\x86.",
    b"S'm'\nS'\\x6e'\n\x93.",
    b"Vm\nVn\n\x93.", b"U\x0b__builtin__U\x03set\x93.",
    # calls
    _G + b")R.", _G + b"(NK\x01tR.", _G + b"NR.", _G + b"]R.", _G + b"R.", b")R.", b"N)R.", b"K\x01)R.",
    b"])R.", _G + b")R)R.",
    _G + b"(R.", b"(" + _G + b"Nt0" + b"N.", _G + b")\x81.", _G + b"N\x81.", _G + b")\x81)R.", b"N)\x81.",
    _G + b"])\x81.",
    _G + b")}\x92.", _G + b")N\x92.", _G + b"]}\x92.", _G + b")}X\x01\x00\x00\x00aNs\x92.",
    _G + b"(K\x01t}\x92.", b")}\x92.",
    b"(" + _G + b"o.", b"(" + _G + b"NNo.", b"(o.", b"o.", b"(No.", _G + b"(o.", b"(im\nn\n.",
    b"(NNim\nn\n.", b"im\nn\n.", b"(i\nn\n.",
    b"(im\n\n.", b"(i\xc3\xa9\nn\n.", b"(im\nn", b"(im", b"N(im\nn\n\x86.", b"(i__builtin__\nset\n.",
    _G + b"\x85R.", _G + b"(]tR.",
    # BUILD
    _G + b")RNb.", _G + b")R}b.", _G + b")R]b.", _G + b")R(NNtb.", _G + b"b.", b"b.", b"Nb.", _G + b")R(b.",
    _G + b")R}b}b.",
    b"]Nb.", b"K\x01Nb.", b"}Nb.", b"]N}\x86b.", b"]}b.", b"]NN\x86b.", b"]N]\x86b.", b"]N}K\x01Ns\x86b.",
    b"NNb.", b"]Kb.",
    _G + b")RNa.", _G + b")R(NNe.", _G + b")RNNs.", _G + b")R(NK\x01u.", _G + b")R]Ns.", _G + b")R(N\x90.",
    _G + b")R(\x90.",
    _G + b")R(e.", _G + b")R(u.", _G + b")R(Nu.", _G + b"NNs.", _G + b"Na.", _G + b"(N\x90.", _G + b"Nb.",
    # persistent ids
    b"Px\n.", b"P\n.", b"P\xe9\n.", b"Px", b"NQ.", b"Q.", b"(Q.", b"(NtQ.", b"NQ\x85.", b"Pa\x00b\n.",
)  # fmt: skip


@pytest.mark.parametrize("data", _SAME, ids=repr)
def test_one_by_one(data: bytes) -> None:
    assert _by_us(data) == _by_c(data)


@pytest.mark.parametrize("data", [data for data in _SAME if _by_c(data)[0]], ids=repr)
def test_cut_anywhere(data: bytes) -> None:
    for end in range(data.rindex(b".")):
        assert _by_us(data[:end]) == _by_c(data[:end])


# Where the machine is meant to differ: what it does, what C does, and why.
_DIFFERENT: dict[str, tuple[bytes, bool, bool]] = {
    # The bytes stay bytes and an oddity is noted, so that what follows is still read.
    "a Python 2 string that is not UTF-8": (b"U\x01\xff.", True, False),
    # Which name a code stands for is known only to the process that loads the file: it is listed as a name.
    "an extension code": (b"\x82\x01.", True, False),
    # What torch puts there is a storage, which cannot be called; the stand-in can.
    "a call of what a persistent id gave": (b"NQ)R.", False, True),
    # Only the type of what a call gives would tell whether it is a tuple; the stand-in is none.
    "the result of a call as arguments": (_G + _G + b")RR.", True, False),
    "the result of a call as keyword arguments": (_G + b")" + _G + b")R\x92.", True, False),
}


@pytest.mark.parametrize(("data", "ours", "theirs"), _DIFFERENT.values(), ids=_DIFFERENT.keys())
def test_known_differences(data: bytes, ours: bool, theirs: bool) -> None:
    assert (_by_us(data)[0], _by_c(data)[0]) == (ours, theirs)


def test_an_extension_code_is_listed_as_a_name() -> None:
    assert _by_us(b"\x82\x07.")[2] == [("copyreg._inverted_registry", "7")]


def test_dotted_names_are_kept_whole() -> None:
    # C walks the attributes itself, and only from protocol 4 on; a name is a name to us.
    assert _by_us(b"\x80\x04\x8c\x01m\x8c\x03a.b\x93.") == _by_c(b"\x80\x04\x8c\x01m\x8c\x03a.b\x93.")


def test_what_crosses_the_end_of_a_frame_is_refused() -> None:
    # From a file object without peek(), as torch.load has it, C drops the rest of the frame; out of bytes it
    # reads on: one pickle, two meanings. No pickler ends a frame inside an opcode.
    frame = b"\x80\x04\x95\x02" + bytes(7)
    crossing = frame + b"X\x03\x01\x00\x00\x00Z.abc."
    assert _by_c(crossing)[1] == ("str", "'Z'")
    pickled = run(crossing, 0, Limits())
    assert pickled.fault is not None or pickled.oddities


_LEAVES = [b"N", b"\x88", b"\x89", b"K\x01", b"K\x02", b"J\xff\xff\xff\xff", b"M\x00\x01", b"I01\n",
b"I7\n", b"L7L\n", b"F1.5\n",
           b"G?\xf0\x00\x00\x00\x00\x00\x00", b"X\x01\x00\x00\x00a", b"\x8c\x01b", b"U\x01c", b"S'd'\n",
           b"Ve\n", b"C\x01f",
           b"\x8a\x01\x05", b")", b"]", b"}", b"\x8f", b"cm\nn\n", b"co\np\n", b"(im\nn\n",
           b"Pq\n"]  # fmt: skip
_STEPS = [b"(", b"0", b"1", b"2", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d", b"\x91", b"a", b"e", b"s",
b"u", b"\x90", b"R",
          b"\x81", b"\x92", b"o", b"b", b"Q", b"q\x00", b"q\x01", b"q\x02", b"h\x00", b"h\x01", b"h\x02",
          b"\x94", b"p1\n", b"g1\n",
          b"\x80\x02", b"\x80\x04", b"\x93", b"."]  # fmt: skip
_PHRASES = [b"cm\nn\n)R", b"cm\nn\n(K\x01tR", b"cm\nn\n)\x81", b"co\np\n)}\x92", b"](K\x01K\x02e",
b"}(K\x01K\x02u", b"}X\x01\x00\x00\x00kNs",
            b"\x8f(K\x01\x90", b"cm\nn\n)R}b", b"(cm\nn\nK\x01o", b"NQ", b"(K\x01K\x02t",
            b"]q\x00h\x00a"]  # fmt: skip
_SOUP = st.lists(st.sampled_from(_LEAVES * 2 + _STEPS + _PHRASES * 2), min_size=1, max_size=25)


def _unknowable(data: bytes) -> bool:
    """Whether C's answer depends on what a real call or storage would have been: see _DIFFERENT."""
    arguments: list[object] = []
    push_call = State.push_call

    def spy(state: State, func: object, args: object, how: How, start: int) -> Call:
        call = push_call(state, func, args, how, start)
        arguments.append(args)
        calls.append(call)
        return call

    calls: list[Call] = []
    with patch.object(State, "push_call", spy):
        pickled = run(data, 0, Limits())
    if any(type(args) is Call for args in arguments) or any(type(call.kwargs) is Call for call in calls):
        return True
    if any("UTF-8" in what for _, what in pickled.oddities):
        return True
    if any("?" in (found.module, found.name) for found in pickled.globals):
        return True
    return pickled.fault is not None and "Persistent" in pickled.fault.reason


@given(_SOUP)
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_soups(parts: list[bytes]) -> None:
    data = b"".join(parts) + b"."
    if not _unknowable(data):
        assert _by_us(data) == _by_c(data)


# A changed name of Python 2 would be mapped by us alone: the stand-in asks C only for those in _MAPPED.
_SPLICED = [data for data in _SAME if len(data) > 2 and not any(old.encode() in data for old, _ in _MAPPED)]


@pytest.mark.plain
@given(st.sampled_from(_SPLICED), st.binary(max_size=3), st.integers(0, 40))
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
def test_spliced(data: bytes, other: bytes, at: int) -> None:
    changed = data[:at] + other + data[at + len(other) :]
    if not any(code in changed for code in (b"\x82", b"\x83", b"\x84")) and not _unknowable(changed):
        assert _by_us(changed) == _by_c(changed)
