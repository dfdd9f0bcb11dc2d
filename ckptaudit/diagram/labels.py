"""What is written into boxes and frames: HTML-like labels, and about how large they come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ckptaudit.diagram.colours import SEVERE
from ckptaudit.diagram.parts import Box, Head, Row
from ckptaudit.diagram.quote import html, shown
from ckptaudit.diagram.standing import unmarked
from ckptaudit.fold import Difference
from ckptaudit.text import grouped, listing, plural, shape, short, size

INK, FAINT, LINE = "#1f2328", "#57606a", "#8c959f"
_ALARM = "#b3261e"
_NAME, _WORDS = 44, 60  # characters of one name, and of one line of words
_MONO = "Courier"
# Points a character takes, about: in bold and plain Helvetica, and in Courier, with what pads a cell.
_BOLD, _PLAIN, _FIXED, _PAD = 7.0, 5.6, 6.0, 12.0
_TALL, _ROW = 19.0, 18.0  # of one line of a header, of one row


class Label(NamedTuple):
    """An HTML-like label with its size in points, estimated: fonts differ between machines."""

    text: str
    width: float
    height: float


class _Line(NamedTuple):
    text: str
    width: float


def box(part: Box, fills: Mapping[str, str], link: str) -> Label:
    """The table of one drawn node: a coloured header, and a row for each tensor."""
    head = part.head
    lines = _lines(head, part)
    fill = fills[part.category]
    header = SEVERE[head.severity] if head.severity else fill
    cells = [_header(line, header) for line in lines]
    widths = [0.0, 0.0, 0.0]
    for row in part.rows:
        texts = _texts(row)
        widths = [max(width, len(text) * _FIXED + _PAD) for width, text in zip(widths, texts, strict=True)]
        cells.append(_row(row, texts, _row_fill(row, fills, fill if header == fill and lines else ""), link))
    if part.hidden and not part.closed:
        more = _small(f"and {plural(part.hidden, 'tensor')} more")
        cells.append(f'<TR><TD COLSPAN="3" ALIGN="LEFT">{more}</TD></TR>')
    colour = _ALARM if head.severity == max(SEVERE) else LINE
    table = f'<TABLE BORDER="1" COLOR="{colour}"{_style(part)} CELLBORDER="0" CELLSPACING="0" CELLPADDING="3"'
    width = max([sum(widths), *(line.width + _PAD for line in lines)])
    height = _TALL * len(lines) + _ROW * (len(cells) - len(lines)) + 4
    return Label(f'<{table} BGCOLOR="#ffffff">{"".join(cells)}</TABLE>>', width, height)


def frame(head: Head) -> Label:
    """The label of a frame around an open module."""
    lines = _lines(head, None)
    fill = SEVERE[head.severity] if head.severity else ""
    cells = "".join(_header(line, fill) for line in lines)
    table = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{cells}</TABLE>'
    return Label(f"<{table}>", max((line.width for line in lines), default=0.0), _TALL * len(lines))


def _lines(head: Head, part: Box | None) -> list[_Line]:
    return [*_title(head), *_below(head, part)]


def _header(line: _Line, fill: str) -> str:
    colour = f' BGCOLOR="{fill}"' if fill else ""
    return f'<TR><TD COLSPAN="3" ALIGN="LEFT"{colour}>{line.text}</TD></TR>'


def _style(part: Box) -> str:
    if part.head.standing == "missing":
        return ' STYLE="DASHED"'
    return ' STYLE="DOTTED"' if any(row.shape is None for row in part.rows) else ""


def _title(head: Head) -> list[_Line]:
    """The name of a module, and the layer that it is."""
    if not head.name:
        return []
    name = shown(head.name, _NAME)
    words = shown(head.layer, _WORDS)
    text = f'<FONT COLOR="{INK}"><B>{html(name)}</B></FONT>'
    width = len(name) * _BOLD
    if words:
        sure = f'&#160;<I><FONT COLOR="{FAINT}">{html(head.confidence)}</FONT></I>' if head.confidence else ""
        text += f'&#160;&#160;<FONT COLOR="{INK}">{html(words)}</FONT>{sure}'
        width += (len(words) + len(head.confidence) + 3) * _PLAIN
    return [_Line(text, width)]


def _below(head: Head, part: Box | None) -> list[_Line]:
    """What is said below the name: how large it is, what is odd about it, and what of it is not drawn."""
    told = [_amount(head, part)] if head.name or part is not None and part.closed else []
    if head.standing:
        told.append(head.standing if head.standing != "mismatched" else "of another shape than expected")
    told += [f"differs: {line}" for line in _changes(head.difference)]
    told.append(head.note)
    return [_Line(_small(line), len(line) * (_PLAIN - 0.6)) for line in (shown(line, _WORDS) for line in told) if line]


def _amount(head: Head, part: Box | None) -> str:
    """`5,376 params · 21.0 KiB`, and for folded blocks that this is all of them."""
    facts = []
    if head.parameters:
        facts.append(f"{brief(head.parameters)} params")
    if head.nbytes:
        facts.append(size(head.nbytes))
    if part is not None and part.closed and head.tensors:
        facts.append(plural(head.tensors, "tensor"))
    if not facts:
        return "no tensors" if not head.tensors and part is not None and not part.rows else ""
    return " · ".join(facts) + (" in all" if head.times > 1 else "")


def brief(number: int) -> str:
    """7,946 in full; from a million on in short, 124.4 M."""
    return short(number) if number >= 1_000_000 else grouped(number)


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="10" COLOR="{FAINT}">{html(text)}</FONT>'


def _texts(row: Row) -> tuple[str, str, str]:
    """Name, shape, and dtype with what else is to be said."""
    standing = "" if row.standing == "mismatched" else row.standing
    words = (shown(row.dtype, _NAME), shown(row.note, _WORDS), standing)
    dims = "?" if row.shape is None else shown(shape(row.shape), _NAME)
    return shown(row.name, _NAME) or "(no name)", dims, ", ".join(filter(None, words))


def _row_fill(row: Row, fills: Mapping[str, str], header: str) -> str:
    """What a row is filled with where the header above it does not tell the same already."""
    if row.severity:
        return SEVERE[row.severity]
    return "" if fills[row.category] == header else fills[row.category]


def _row(row: Row, texts: Sequence[str], fill: str, link: str) -> str:
    tip = html(shown(" / ".join((row.name, *row.told)), 600))
    href = f' HREF="{html(link + row.anchor)}"' if link else ""
    colour = f' BGCOLOR="{fill}"' if fill else ""
    first = f' PORT="{row.anchor}" ID="{row.anchor}" TITLE="{tip}"{href}'
    return (
        f'<TR><TD ALIGN="LEFT"{first}{colour}>{_fixed(texts[0])}</TD>'
        f'<TD ALIGN="LEFT"{colour}>{_fixed(texts[1])}</TD><TD ALIGN="LEFT" PORT="{row.anchor}-e"{colour}>{_fixed(texts[2], FAINT)}</TD></TR>'
    )


def _fixed(text: str, colour: str = INK) -> str:
    return f'<FONT FACE="{_MONO}" POINT-SIZE="10" COLOR="{colour}">{html(text)}</FONT>'


def _changes(found: Iterable[Difference]) -> list[str]:
    """In what a sibling differs, the same change of many tensors told once; at most three lines."""
    changes: dict[str, list[str]] = defaultdict(list)
    for difference in found:
        changes[_change(difference)].append(difference.name)
    lines = [
        f"{listing(names, 3) if len(names) < 4 else plural(len(names), 'tensor')} {change}"
        for change, names in changes.items()
    ]
    return lines if len(lines) <= 3 else [*lines[:2], f"and {len(lines) - 2} more"]


def _change(difference: Difference) -> str:
    here, there = difference.here, difference.there
    if here is None:
        return "absent"
    if there is None:
        return f"{shape(here[1])} {here[0]} only here"
    pairs = zip(
        (shape(here[1]), here[0], unmarked(here[2])), (shape(there[1]), there[0], unmarked(there[2])), strict=True
    )
    return ", ".join(f"{own} not {other}" for own, other in pairs if own != other) or "stands otherwise"
