"""How pickles spell numbers and text: what follows the opcode, turned into a value.

Texts are those of protocol 0, and read as C reads them: int(x, 0), escapes of bytes literals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptaudit.readers.pickle.state import State
from ckptaudit.readers.pickle.symbols import PickleError


def counted(width: int, *, signed: bool = False) -> Callable[[State], bytes]:
    def read(state: State) -> bytes:
        size = int.from_bytes(state.take(width), "little", signed=signed)
        if size < 0:
            raise PickleError(f"a string of {size} bytes")
        return state.take(size)

    return read


def python2_text(read: Callable[[State], bytes]) -> Callable[[State], Any]:
    # torch.load decodes these as UTF-8; bytes that are none stay bytes, which torch would refuse.
    def convert(state: State) -> str | bytes:
        at, raw = state.pos, read(state)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            state.oddities.append((at, "holds a Python 2 string that is not UTF-8"))
            return raw

    return convert


def utf8(raw: bytes, errors: str = "strict") -> str:
    try:
        return raw.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise PickleError(f"a string is not UTF-8 ({error.reason})") from None


def number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise PickleError(f"{text[:40]!r} is no number") from None


def read_int(state: State) -> int | bool:
    text = state.line()
    if text in (b"00", b"01"):
        return text == b"01"
    return number(text, 0)


def read_float(state: State) -> float:
    text = state.line()
    try:
        if text != text.strip() or b"_" in text:  # float() takes these, C does not
            raise ValueError
        return float(text)
    except ValueError:
        raise PickleError(f"{text[:40]!r} is no number") from None


def read_string(state: State) -> Any:
    # Escapes as bytes literals have them; a quote at both ends, the same one.
    text = state.line().rstrip(b" \t\r\n\v\f")
    if len(text) < 2 or text[0] != text[-1] or text[0] not in b"\"'":
        raise PickleError("a STRING without its quotes")
    return _unescape(text[1:-1])


def _unescape(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    try:
        # latin-1 maps bytes to code points one to one, so this undoes exactly the bytes' own escapes.
        plain = text.decode("latin-1").replace("\\u", "\\\\u").replace("\\U", "\\\\U").replace("\\N", "\\\\N")
        return plain.encode("latin-1").decode("unicode_escape").encode("latin-1")
    except UnicodeError:
        raise PickleError("a STRING with a broken escape") from None


def read_unicode(state: State) -> str:
    try:
        return state.line().decode("raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise PickleError(f"a UNICODE string with a broken escape ({error.reason})") from None


def read_long(state: State) -> int:
    text = state.line()
    return number(text[:-1] if text.endswith(b"L") else text, 0)
