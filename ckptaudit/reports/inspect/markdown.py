"""A GitHub-flavoured Markdown table, one row a tensor, in which no name can be markup."""

from __future__ import annotations

from typing import TextIO

from ckptaudit.model import Checkpoint
from ckptaudit.reports.inspect.selection import ALL, Selection
from ckptaudit.reports.inspect.table import COLUMNS, table
from ckptaudit.reports.markup import span


def write(checkpoint: Checkpoint, out: TextIO, selection: Selection = ALL) -> None:
    """Write a heading and the selected tensors."""
    out.write(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n")
    for cells in table(checkpoint, selection):
        out.write(f"| {' | '.join(map(span, cells))} |\n")
