"""Names out of a file as DOT text: nothing in them is markup, an escape, or the end of a string.

Two languages meet in a DOT file: quoted strings, in which Graphviz replaces `\\N` and its like
(https://graphviz.org/docs/attr-types/escString/), and HTML-like labels, in which it does so after entities
are decoded (https://graphviz.org/doc/info/shapes.html#html). The graphviz package quotes for the first and
leaves both replacements alone: what is needed is these few lines.
"""

from __future__ import annotations

from re import compile as regex

from ckptaudit.text import clip, safe

_BRACKET = regex(r"(?:^|(?<=;))\]+")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def shown(text: str, width: int) -> str:
    """`text` on one line, harmless and at most about `width` characters long, its middle left out."""
    return clip(safe(clip(text, width)), width)


def html(text: str) -> str:
    """Text inside an HTML-like label, or an attribute there.

    Graphviz 2.43 takes a bracket that no other text stands before for the end of a CDATA section.
    """
    escaped = text.replace("\\", "\\\\").translate(_ENTITIES)
    return _BRACKET.sub(lambda found: found[0].replace("]", "&#93;"), escaped)


def attribute(text: str) -> str:
    """A quoted string of its own. Graphviz writes entities on into SVG, and replaces escapes up to twice."""
    lines = text.translate(_ENTITIES).replace("\\", "&#92;").split("\n")
    return f'"{"&#10;".join(lines)}"'
