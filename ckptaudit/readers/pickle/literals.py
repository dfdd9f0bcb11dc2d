"""How pickles spell numbers and text: what follows the opcode, turned into a value.

Texts are those of protocol 0, and are read as C reads them: numbers by strtol(s, 0), then by int(s, 0);
a NUL ends them; escapes are those of bytes literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ckptaudit.readers.pickle.state import State
from ckptaudit.readers.pickle.symbols import PickleError

_STRTOL = re.compile(rb"[ \t\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_LONG_BITS = 63
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^x])", re.DOTALL)
_ESCAPED = {ord("\n"): b"", **{ord(char): char.encode() for char in "\\'\""}}
_ESCAPED |= dict(zip(b"abfnrtv", (b"\a", b"\b", b"\f", b"\n", b"\r", b"\t", b"\v"), strict=True))


def counted(width: int, *, signed: bool = False) -> Callable[[State], bytes]:
    """A reader of bytes with their count, of `width` bytes, in front."""

    def read(state: State) -> bytes:
        size = int.from_bytes(state.take(width), "little", signed=signed)
        if size < 0:
            raise PickleError(f"a string of {size} bytes")
        return state.take(size)

    return read


def python2_text(read: Callable[[State], bytes]) -> Callable[[State], Any]:
    """A reader of Python 2 strings. torch.load takes them for UTF-8; others stay bytes, and are noted."""

    def convert(state: State) -> str | bytes:
        at, raw = state.pos, read(state)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            state.odd(at, "holds a Python 2 string that is not UTF-8")
            state.objects += 3  # what the attempt costs
            return raw

    return convert


def utf8(raw: bytes, errors: str = "strict") -> str:
    """Text of a modern pickle."""
    try:
        return raw.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise PickleError(f"a string is not UTF-8 ({error.reason})") from None


def number(text: bytes, base: int) -> int:
    """An integer as PyLong_FromString reads it."""
    text = text.partition(b"\0")[0]
    try:
        return int(text, base)
    except ValueError:
        raise PickleError(f"{text[:40]!r} is no number") from None


def memo_index(state: State) -> int:
    """The index of GET or PUT."""
    index = number(state.line(), 10)
    if index.bit_length() > _LONG_BITS:
        raise PickleError("a memo index beyond 63 bits")
    return index


def read_int(state: State) -> int | bool:
    """INT: also how protocol 0 spells booleans, in two characters."""
    text = state.line()
    if not text:
        raise PickleError("an INT without its number")
    found = _STRTOL.match(text)
    rest = text[found.end() :] if found else text
    if rest and rest[0] != 0:
        return number(text, 0)
    value = _strtol(found) if found else 0
    if value.bit_length() > _LONG_BITS:
        return number(text, 0)
    return bool(value) if len(text) == 2 and value in (0, 1) else value


def _strtol(found: re.Match[bytes]) -> int:
    sign, digits = found.groups()
    octal = digits.startswith(b"0") and digits[1:2] not in (b"x", b"X")
    value = int(digits, 8 if octal else 0)
    return -value if sign == b"-" else value


def read_long(state: State) -> int:
    """LONG: a number, with or without its L."""
    text = state.line()
    return number(text[:-1] if text.endswith(b"L") else text, 0)


def read_float(state: State) -> float:
    """FLOAT, as PyOS_string_to_double reads it: no blanks, no underscores, no overflow."""
    text = state.line().partition(b"\0")[0]
    try:
        value = float(text)
    except ValueError:
        raise PickleError(f"{text[:40]!r} is no number") from None
    if text != text.strip() or b"_" in text or (abs(value) == float("inf") and b"n" not in text.lower()):
        raise PickleError(f"{text[:40]!r} is no number")
    return value


def read_string(state: State) -> bytes:
    """STRING: a bytes literal in quotes."""
    text = state.line()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in b"\"'":
        raise PickleError("a STRING without its quotes")
    inner = text[1:-1]
    if b"\\" not in inner:
        return inner
    made = _ESCAPE.sub(_unescape, inner)
    if _ESCAPE.sub(b"", inner).find(b"\\") >= 0:
        raise PickleError("a STRING with a broken escape")
    return made


def _unescape(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if escape[0] == 0x78:  # \x41
        return bytes([int(escape[1:], 16)])
    if escape.isdigit() and escape[0] < 0x38:  # \101, cut to a byte as C cuts it
        return bytes([int(escape, 8) & 0xFF])
    return _ESCAPED.get(escape[0], found[0])


def read_unicode(state: State) -> str:
    """UNICODE: text with escapes for code points."""
    try:
        return state.line().decode("raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise PickleError(f"a UNICODE string with a broken escape ({error.reason})") from None
