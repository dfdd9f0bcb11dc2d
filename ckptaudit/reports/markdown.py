"""A GitHub-flavoured Markdown table, one row a tensor, in which no name can be markup."""

from __future__ import annotations

from typing import TextIO

from ckptaudit.model import Checkpoint
from ckptaudit.reports.selection import ALL, Selection
from ckptaudit.reports.table import COLUMNS, table


def write(checkpoint: Checkpoint, out: TextIO, selection: Selection = ALL) -> None:
    """Write a heading and the selected tensors."""
    out.write(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n")
    for cells in table(checkpoint, selection):
        out.write(f"| {' | '.join(map(code, cells))} |\n")


def code(cell: str) -> str:
    """A cell as code, where Markdown looks for no markup, HTML or @mention; character by character
    where the cell could end the code itself."""
    if not cell:
        return ""
    if "`" in cell or "|" in cell or "\\" in cell or cell != cell.strip():
        return f"<code>{''.join(char if char.isalnum() else f'&#{ord(char)};' for char in cell)}</code>"
    return f"`{cell}`"
