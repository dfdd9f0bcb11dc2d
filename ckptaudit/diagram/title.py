"""The lines above a picture: what it is of, how large that is, what colours mean, and what is not drawn."""

from __future__ import annotations

from ckptaudit.diagram.labels import FAINT, LINE, brief
from ckptaudit.diagram.parts import Picture, Totals
from ckptaudit.diagram.quote import html, shown
from ckptaudit.text import plural, short, size

_NAME, _LINE = 80, 110  # characters
_SWATCHES = 12
_TABLE = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="2">'


def title(picture: Picture) -> str:
    """An HTML-like label: one line of totals."""
    return f"<{_TABLE}<TR><TD>{_headline(picture.totals)}</TD></TR></TABLE>>"


def legend(picture: Picture) -> str:
    """A small table that says what colours mean; "" where nothing is coloured."""
    rows = [
        f'<TR><TD BORDER="1" COLOR="{LINE}" BGCOLOR="{swatch.fill}" WIDTH="18"></TD>'
        f'<TD ALIGN="LEFT">{_small(f"{picture.options.color} {swatch.label}")}</TD></TR>'
        for swatch in picture.legend[:_SWATCHES]
    ]
    more = len(picture.legend) - _SWATCHES
    if more > 0:
        rows.append(f'<TR><TD></TD><TD ALIGN="LEFT">{_small(f"and {more} more")}</TD></TR>')
    return f"<{_TABLE}{''.join(rows)}</TABLE>>" if rows else ""


def notes(picture: Picture) -> str:
    """What is not drawn, and what cannot be known, in lines."""
    lines = "".join(
        f'<TR><TD ALIGN="LEFT">{_small(line)}</TD></TR>' for line in (*picture.folded, *picture.notes)
    )
    return f"<{_TABLE}{lines}</TABLE>>" if lines else ""


def _headline(totals: Totals) -> str:
    name = shown(totals.path.rpartition("/")[2], _NAME)
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
    told = html(shown(" · ".join(filter(None, facts)), 2 * _LINE))
    return f'<FONT POINT-SIZE="14"><B>{html(name)}</B></FONT>&#160;&#160;<FONT COLOR="{FAINT}">{told}</FONT>'


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="10" COLOR="{FAINT}">{html(shown(text, _LINE))}</FONT>'
