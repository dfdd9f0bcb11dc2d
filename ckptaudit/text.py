"""Words for people: names out of a file made harmless, and numbers made short.

Names, paths and values of a checkpoint are text that an attacker may have chosen. What goes to a
terminal, a table or a page passes through `safe` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from re import compile as regex
from shlex import quote

# Python refuses to print integers of more than 4,300 digits; nothing real comes near this.
_PRINTABLE_BITS = 1024

_LEVELS = 64  # of a dotted name that are told apart

_DIGITS = regex(r"(\d+)")

# One ASCII character for each drawing character that reports use, so that columns stay in line.
_ASCII = str.maketrans("├└│─█▏▎▍▌▋▊▉·×→≠…", "|`|-#.......-x>!~")


def safe(text: str) -> str:
    """`text` on one line, with escapes (backslash x, u or U) for all that is not plainly visible.

    Control characters, ANSI sequences, line ends, bidirectional and zero-width characters and lone
    surrogates are not printable to Python (https://docs.python.org/3/library/stdtypes.html#str.isprintable).
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def encodable(text: str, encoding: str) -> str:
    """`text` as a stream of this encoding can show it: drawn in ASCII where it knows no box characters."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


def integer(number: int) -> str:
    """All digits of a number, hexadecimal where Python would refuse so many."""
    return str(number) if number.bit_length() <= _PRINTABLE_BITS else hex(number)


def grouped(number: int) -> str:
    """7946 -> 7,946."""
    return f"{number:,}" if number.bit_length() <= _PRINTABLE_BITS else hex(number)


def short(number: int) -> str:
    """124439808 -> 124.4 M, in powers of 1,000."""
    return _scaled(number, 1000, ("", " K", " M", " B", " T"))


def size(nbytes: int) -> str:
    """34041 -> 33.2 KiB, in powers of 1,024."""
    return _scaled(nbytes, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"))


def _scaled(number: int, base: int, units: tuple[str, ...]) -> str:
    if abs(number) < base:
        return f"{number}{units[0]}"
    if number.bit_length() > _PRINTABLE_BITS:
        return hex(number)
    scaled = float(number)
    unit = 0
    # 999,960 is 1.0 M, not 1000.0 K: rounding can carry a number into the next unit.
    while abs(round(scaled, 1)) >= base and unit < len(units) - 1:
        scaled /= base
        unit += 1
    return f"{scaled:.1f}{units[unit]}"


def percent(part: float, whole: float) -> str:
    """1, 3 -> 33.3 %; what is neither nothing nor all is never called 0 or 100 %."""
    if part == whole:
        return "100 %"
    share = 100 * part / whole
    if part and share < 0.1:
        return "< 0.1 %"
    return f"{min(share, 99.9):.1f} %"


def plural(number: int, noun: str) -> str:
    """1, "tie" -> 1 tie; 2, "tie" -> 2 ties."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def dotted(path: Iterable[str | int]) -> str:
    """("model", 0, "weight") -> model.0.weight."""
    return ".".join([part if isinstance(part, str) else integer(part) for part in path])


def shape(dims: tuple[int, ...] | None) -> str:
    """(256, 20) -> [256, 20]; a lazy parameter has none yet."""
    return "lazy" if dims is None else f"[{', '.join(map(integer, dims))}]"


def clip(text: str, width: int) -> str:
    """`text`, its middle left out where it is longer than `width` characters."""
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def value(thing: object, width: int = 80) -> str:
    """A leaf out of a checkpoint on one safe line of about `width` characters."""
    return safe(clip("".join(_pieces(thing, width, 4)), width))


def _pieces(thing: object, width: int, depth: int) -> Iterator[str]:
    # Shared and nested containers can be huge when written out: nobody looks past `width`.
    if isinstance(thing, str):
        yield repr(thing[: width + 1])
    elif isinstance(thing, bytes | bytearray):
        yield f"{grouped(len(thing))} bytes"
    elif isinstance(thing, int) and not isinstance(thing, bool):
        yield integer(thing)
    elif isinstance(thing, dict | list | tuple):
        yield from _container(thing, width, depth)
    else:
        yield str(thing)


def _container(
    thing: dict[object, object] | list[object] | tuple[object, ...], width: int, depth: int
) -> Iterator[str]:
    opening, closing = {dict: ("{", "}"), list: ("[", "]")}.get(type(thing), ("(", ")"))
    yield opening
    for place, item in enumerate(thing):
        if place:
            yield ", "
        if depth == 0 or place == 8:
            yield f"…{grouped(len(thing) - place)} more"
            break
        yield from _pieces(item, width, depth - 1)
        if isinstance(thing, dict):
            yield ": "
            yield from _pieces(thing[item], width, depth - 1)
    yield closing


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts h.2 before h.10."""
    return tuple(
        (0, int(part), part) if part.isdecimal() and len(part) < 19 else (1, 0, part)
        for part in _DIGITS.split(name)
        if part
    )


def template(name: str) -> str:
    """A name without its numbers: the same for `block 0` and `block 11`."""
    return _DIGITS.sub("#", name)


def ranges(numbers: Iterable[int], most: int = 6) -> str:
    """0, 1, 2, 5 -> 0-2, 5; at most `most` pieces."""
    pieces = []
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        pieces.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    return listing(pieces, most)


def listing(names: list[str], most: int = 6) -> str:
    """Names joined by commas; past `most` of them only the first and the last."""
    if len(names) > most:
        names = [*names[: most - 1], "…", names[-1]]
    return ", ".join(names)


def some(names: Sequence[str], most: int = 6) -> str:
    """The first `most` names, and how many more there are: "a, b and 3 more"."""
    more = f" and {grouped(len(names) - most)} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def above(name: str) -> Iterator[str]:
    """What a dotted name is inside of: a, a.b and a.b.c of a.b.c.weight; of hostile ones the first 64."""
    at = name.find(".")
    for _ in range(_LEVELS):
        if at < 0:
            return
        yield name[:at]
        at = name.find(".", at + 1)


def option(name: str, value: str) -> str | None:
    """`--map 'a b=c'`, quoted for a shell; None where the value holds what cannot be pasted safely."""
    return f"{name} {quote(value)}" if value.isprintable() else None
