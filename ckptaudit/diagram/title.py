"""The words around a picture: what it is of, how large that is, what colours mean, and what is not drawn."""

from __future__ import annotations

from ckptaudit.audit import Severity
from ckptaudit.diagram.colours import SEVERE
from ckptaudit.diagram.labels import FAINT, LINE, ROW, small, width
from ckptaudit.diagram.parts import Cluster, Picture, Totals
from ckptaudit.diagram.quote import html, shown
from ckptaudit.diagram.words import brief
from ckptaudit.text import plural, short, size

_NAME, _LINE = 80, 120  # characters
_SWATCHES = 12

Table = tuple[str, float, float]  # an HTML-like label, its width and its height


def title(picture: Picture) -> Table:
    """One line of totals."""
    name = shown(picture.totals.path.rpartition("/")[2], _NAME)
    told = shown(_facts(picture.totals), 2 * _LINE)
    bold = f'<FONT POINT-SIZE="15"><B>{html(name)}</B></FONT>'
    text = f'{bold}&#160;&#160;&#160;<FONT COLOR="{FAINT}">{html(told)}</FONT>'
    wide = round(width(name, 15) * 1.06 + width(told, 12) + 30)
    return _table(f'<TR><TD ALIGN="LEFT">{text}</TD></TR>', wide, 26.0)


def _facts(totals: Totals) -> str:
    untied = f" ({short(totals.untied)} if untied)" if totals.untied != totals.parameters else ""
    facts = [
        totals.format.replace("-", " "),
        plural(totals.tensors, "tensor"),
        f"{brief(totals.parameters)} parameters{untied}",
        size(totals.nbytes),
        plural(totals.ties, "tie") if totals.ties else "",
        plural(totals.errors, "error") if totals.errors else "",
        plural(totals.warnings, "warning") if totals.warnings else "",
    ]
    return " · ".join(filter(None, facts))


def legend(picture: Picture) -> Table:
    """A small table that says what colours mean; empty where nothing is coloured."""
    color = picture.options.color
    swatches = [(swatch.fill, f"{color} {swatch.label}") for swatch in picture.legend[:_SWATCHES]]
    if len(picture.legend) > _SWATCHES:
        swatches.append(("#ffffff", f"and {len(picture.legend) - _SWATCHES} more"))
    if color != "finding":
        swatches += [
            (fill, str(severity)) for severity, fill in SEVERE.items() if severity in _found(picture)
        ]
    words = [shown(word, 40) for _, word in swatches]
    rows = [
        f'<TR><TD BORDER="1" COLOR="{LINE}" BGCOLOR="{fill}" WIDTH="18"></TD>'
        f'<TD ALIGN="LEFT">{small(word)}</TD></TR>'
        for (fill, _), word in zip(swatches, words, strict=True)
    ]
    return _table("".join(rows), *_size(words, 36.0)) if rows else ("", 0.0, 0.0)


def _found(picture: Picture) -> set[Severity | None]:
    """The severities of what is coloured."""
    parts = list(picture.children)
    found = set()
    while parts:
        part = parts.pop()
        found.add(part.head.severity)
        if isinstance(part, Cluster):
            parts += part.children
        else:
            found |= {row.severity for row in part.rows}
    return found


def notes(picture: Picture) -> Table:
    """What is not drawn, and what cannot be known, in lines."""
    lines = [shown(line, _LINE) for line in (*picture.folded, *picture.notes)]
    rows = "".join(f'<TR><TD ALIGN="LEFT">{small(line)}</TD></TR>' for line in lines)
    return _table(rows, *_size(lines, 10.0)) if lines else ("", 0.0, 0.0)


def _size(lines: list[str], more: float) -> tuple[float, float]:
    return round(max(width(line, 10) for line in lines) + more), (ROW + 1) * len(lines) + 4


def _table(rows: str, wide: float, tall: float) -> Table:
    size = f'WIDTH="{wide:.0f}" HEIGHT="{tall:.0f}"'
    table = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="2" {size}>'
    return f"<{table}{rows}</TABLE>>", wide, tall
