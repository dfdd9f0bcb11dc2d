"""Comma-separated values, one row a tensor, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from typing import TextIO

from ckptaudit.model import Checkpoint
from ckptaudit.reports.inspect.selection import ALL, Selection
from ckptaudit.reports.inspect.table import COLUMNS, table


def write(checkpoint: Checkpoint, out: TextIO, selection: Selection = ALL) -> None:
    """Write a heading and the selected tensors (RFC 4180, but lines end as on this system)."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cells in table(checkpoint, selection):
        writer.writerow(map(_inert, cells))


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
