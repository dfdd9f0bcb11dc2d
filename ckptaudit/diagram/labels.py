"""What is written into boxes and frames: HTML-like labels of a size that is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

from ckptaudit.diagram.colours import SEVERE
from ckptaudit.diagram.parts import Box, Head, Row
from ckptaudit.diagram.quote import html, shown
from ckptaudit.diagram.words import below, layer_words
from ckptaudit.text import shape

INK, FAINT, LINE = "#1f2328", "#57606a", "#8c959f"
ALARM = "#b3261e"
NAME, WORDS = 44, 64  # characters of one name, and of one line of words
_MONO = "Courier"
TALL, ROW = 21.0, 18.0  # points: the line with a name, and any other
_PAD, _LEAST = 8.0, 44.0  # around the text of a cell; of a whole table
# Widths in ems: about Helvetica's (https://adobe-type-tools.github.io/font-tech-notes/pdfs/5004.AFM_Spec.pdf
# tells how they are given), and a little more, for where another font stands in for it.
_NARROW, _BROAD = frozenset(" !'(),-./:;I[\\]`fijlrt|·"), frozenset("%@MWmw×→")

Columns = tuple[int, int, int]


def width(text: str, points: float, *, is_fixed: bool = False) -> float:
    """How wide a line of text is in Helvetica or Courier, rather too wide than too narrow."""
    return points * sum(map(_em_fixed if is_fixed else _em, text))


def _em(char: str) -> float:
    if char in _NARROW:
        return 0.35
    if char in _BROAD:
        return 1.0
    if east_asian_width(char) in "WF":
        return 1.1
    return 0.75 if char.isupper() else 0.62


def _em_fixed(char: str) -> float:
    return 1.25 if east_asian_width(char) in "WF" else 0.61


@dataclass(frozen=True, slots=True)
class Label:
    """An HTML-like label and its size in points; `rows` are the middles of rows from its top, by anchor."""

    text: str
    width: float
    height: float
    rows: Mapping[str, float]


def box(part: Box, fills: Mapping[str, str], link: str) -> Label:
    """The table of one drawn node: a coloured header, and a row for each tensor."""
    head = part.head
    fill = fills[part.category]
    header = SEVERE[head.severity] if head.severity else fill
    told = below(head, part)
    columns = _columns(head, part, told)
    is_alone = not part.rows
    cells = [_name(head, header, columns, is_alone=is_alone)] if head.name else []
    cells += [_line(text, header, columns, is_alone=is_alone and not head.name) for text in told]
    used = TALL * bool(head.name) + ROW * len(told)
    plain = header if header == fill and cells else ""
    middles = {}
    for row in part.rows:
        cells.append(_row(row, fills[row.category], plain, link, columns))
        middles[row.anchor] = used + ROW / 2
        used += ROW
    if part.hidden and not part.closed:
        cells.append(_line(_more(part), "", columns))
        used += ROW
    colour = ALARM if head.severity == max(SEVERE) else LINE
    table = f'<TABLE BORDER="1" COLOR="{colour}"{_style(part)} CELLBORDER="0" CELLSPACING="0" CELLPADDING="3"'
    text = f'<{table} BGCOLOR="#ffffff">{"".join(cells)}</TABLE>>'
    return Label(text, sum(columns) + 2, used + 2, middles)


def frame(head: Head) -> Label:
    """The label of a frame around an open module."""
    fill = SEVERE[head.severity] if head.severity else ""
    told = below(head, None)
    columns = _columns(head, None, told)
    cells = [_name(head, fill, columns, is_alone=True), *(_line(text, fill, columns) for text in told)]
    table = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">'
    return Label(f"<{table}{''.join(cells)}</TABLE>>", sum(columns), TALL + ROW * len(told), {})


def _columns(head: Head, part: Box | None, told: Sequence[str]) -> Columns:
    """The widths of the three columns: names, shapes, and dtypes with what else there is."""
    rows = (
        [tuple(width(text, 10, is_fixed=True) + _PAD for text in _texts(row)) for row in part.rows]
        if part
        else []
    )
    first, second, third = (max((cells[place] for cells in rows), default=0.0) for place in range(3))
    if head.name:
        words = layer_words(head)
        first = max(first, width(shown(head.name, NAME), 12) * 1.06 + _PAD)
        second = max(second, width(words, 11) + _PAD - third if words else 0.0)
    lines = [*told, _more(part)] if part else told
    widest = max([_LEAST, *(width(text, 10) + _PAD for text in lines)])
    return round(first), round(second), round(max(third, widest - first - second))


def _more(part: Box) -> str:
    return f"and {part.hidden:,} more" if part.hidden and not part.closed else ""


def _style(part: Box) -> str:
    if part.head.standing == "missing":
        return ' STYLE="DASHED"'
    return ' STYLE="DOTTED"' if any(row.shape is None for row in part.rows) else ""


def _name(head: Head, fill: str, columns: Columns, *, is_alone: bool) -> str:
    """The name of a module, and the layer that it is; `is_alone` where no row below says how wide that is.

    What cells across columns ask for, Graphviz adds to the last of them.
    """
    name = html(shown(head.name, NAME) or '""')  # Graphviz refuses an empty element
    words = layer_words(head)
    told = f'<FONT POINT-SIZE="11">{html(words)}</FONT>' if words else " "
    wide = f' WIDTH="{columns[1] + columns[2]}"' if is_alone else ""
    return (
        f'<TR><TD ALIGN="LEFT" WIDTH="{columns[0]}"{_filled(fill)}><B>{name}</B></TD>'
        f'<TD COLSPAN="2" ALIGN="LEFT"{wide}{_filled(fill)}>{told}</TD></TR>'
    )


def _line(text: str, fill: str, columns: Columns, *, is_alone: bool = False) -> str:
    wide = f' WIDTH="{sum(columns)}"' if is_alone else ""
    return f'<TR><TD COLSPAN="3" ALIGN="LEFT"{wide}{_filled(fill)}>{small(text)}</TD></TR>'


def small(text: str) -> str:
    """Words in small grey letters."""
    return f'<FONT POINT-SIZE="10" COLOR="{FAINT}">{html(text)}</FONT>'


def _texts(row: Row) -> tuple[str, str, str]:
    """Name, shape, and dtype with what else is to be said."""
    standing = "" if row.standing == "mismatched" else row.standing
    words = (shown(row.dtype, NAME), shown(row.note, WORDS), standing)
    dims = "?" if row.shape is None else shown(shape(row.shape), NAME)
    return shown(row.name, NAME) or "(no name)", dims, ", ".join(filter(None, words))


def _row(row: Row, fill: str, header: str, link: str, columns: Columns) -> str:
    """What its name is filled with tells of findings, the rest what the header does not tell already."""
    tip = html(shown(" / ".join((row.name, *row.told)), 600))
    href = f' HREF="{html(link + row.anchor)}"' if link else ""
    own = "" if fill == header else fill
    colours = (SEVERE[row.severity] if row.severity else own, own, own)
    name, dims, words = (
        f'<TD ALIGN="LEFT" WIDTH="{wide}"{_filled(colour)}'
        for wide, colour in zip(columns, colours, strict=True)
    )
    texts = _texts(row)
    return (
        f'<TR>{name} PORT="{row.anchor}" ID="{row.anchor}" TITLE="{tip}"{href}>{_fixed(texts[0], INK)}</TD>'
        f"{dims}>{_fixed(texts[1], INK)}</TD>{words}>{_fixed(texts[2], FAINT)}</TD></TR>"
    )


def _filled(colour: str) -> str:
    return f' BGCOLOR="{colour}"' if colour else ""


def _fixed(text: str, colour: str) -> str:
    return f'<FONT FACE="{_MONO}" POINT-SIZE="10" COLOR="{colour}">{html(text) or " "}</FONT>'
