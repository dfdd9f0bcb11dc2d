"""Text of a file that becomes part of Python source: literals, comments and docstrings, all in plain ASCII.

Names, classes and settings are the file's to choose: what is written here ends neither a string nor a line.
"""

from __future__ import annotations

import math
import re
from textwrap import wrap

from ckptaudit.text import clip, safe

LINE = 88
_DEEP = 20  # levels of nested tuples that are written
_MANY = 10_000  # items of one of them
_LONG = 60  # characters of a name that is only told
_ENDING = re.compile(r'"(?="|$)')  # quotes that could be part of three, or stand before three


class UnwritableError(Exception):
    """A value that no literal stands for."""


def literal(value: object, depth: int = _DEEP) -> str:
    """Source of None, a bool, number or string, or of tuples, lists and dicts of such.

    Raises UnwritableError for anything else: nothing of a file becomes code.
    """
    if value is None or type(value) is bool:
        return repr(value)
    if type(value) is int:
        # Python reads no decimal number of more than 4,300 digits.
        return str(value) if value.bit_length() <= 1024 else hex(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if type(value) is str:
        return quoted(value)
    if depth and type(value) in (tuple, list) and len(value) <= _MANY:  # type: ignore[arg-type]
        return _sequence(value, depth)  # type: ignore[arg-type]
    raise UnwritableError(type(value).__name__)


def _sequence(value: tuple[object, ...] | list[object], depth: int) -> str:
    items = [literal(item, depth - 1) for item in value]
    if isinstance(value, list):
        return f"[{', '.join(items)}]"
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def writable(value: object) -> bool:
    """Whether `literal` takes it."""
    try:
        literal(value)
    except UnwritableError:
        return False
    return True


def quoted(text: str) -> str:
    """A string literal in ASCII, in the quotes that need fewer escapes."""
    if text.count('"') > text.count("'"):
        return ascii(text)
    # What holds an apostrophe and no quote is written in quotes: all but these is escaped by Python itself.
    pieces = [ascii("'" + piece)[2:-1] for piece in text.split('"')]
    return '"' + '\\"'.join(pieces) + '"'


def plain(text: str) -> str:
    """Text for a comment: one line of ASCII."""
    return safe(text).encode("ascii", "backslashreplace").decode()


def told(name: str) -> str:
    """A name for a comment, not longer than it can be read."""
    return plain(clip(safe(name), _LONG).replace("…", "..."))


def docstring(paragraphs: list[str], indent: str = "") -> list[str]:
    """The lines of a docstring; a paragraph that starts with spaces is kept as it is, others are wrapped."""
    lines: list[str] = []
    for paragraph in paragraphs:
        text = escaped(paragraph)
        lines += [text] if text.startswith(" ") else wrap(text, LINE - 3, break_long_words=False) or [""]
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}".rstrip() for line in lines[1:]), f'{indent}"""']


def escaped(text: str) -> str:
    """Text for the inside of a docstring; escapes in it are shown as they are."""
    return _ENDING.sub(r"\"", plain(text).replace("\\", "\\\\"))
