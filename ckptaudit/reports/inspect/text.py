"""The page that a person reads: header, totals, folded tree, and what is sure and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from itertools import islice

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ckptaudit.fold import tree
from ckptaudit.layers import Guess
from ckptaudit.model import Checkpoint
from ckptaudit.reports.inspect.layers import inferred
from ckptaudit.reports.inspect.notes import counted, devices, header, notes
from ckptaudit.reports.inspect.rows import Row, View, described, rows, seeming
from ckptaudit.reports.inspect.selection import ALL, Selection
from ckptaudit.summary import Group, alias_name, overlaps, parameters, pick, ties, totals
from ckptaudit.text import grouped, percent

MOST_ROWS = 400
# Wide enough for any name: what is piped is never wrapped or cut.
UNBOUNDED = 1_000_000
# A hostile name of 64 KB must not push the columns of every other row that far out.
_WIDEST = 200
_BAR = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"
_NAME, _NUMBER = 0, 4  # columns
_ALARMS = {"problems": "red", "imports": "yellow", "overlaps": "yellow", "unknown": "dim"}
_STYLES = ("", "cyan", "dim", "dim", "", "dim", "green", "dim")


@dataclass(frozen=True, slots=True)
class Page:
    """How to write the page: `width` in columns is None where the output is no terminal."""

    selection: Selection = ALL
    depth: int | None = None
    expand: tuple[str, ...] = ()
    width: int | None = None
    colour: bool = False


def render(checkpoint: Checkpoint, page: Page) -> str:
    """The whole page, escape sequences of colour in it only where `page.colour` asks for them."""
    out = StringIO()
    console = Console(
        file=out,
        width=page.width or UNBOUNDED,
        force_terminal=page.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    chosen, tied = pick(checkpoint), ties(checkpoint)
    whole = totals(checkpoint, tied)
    name, _, facts = header(checkpoint, chosen).partition("  ")
    console.print(Text.assemble((name, "bold"), "  ", (facts, "dim")))
    console.print()
    console.print(Text(f"  {counted(checkpoint, whole, tied)}"))
    told = inferred(checkpoint, chosen)
    _tree(console, checkpoint, page, tied, told)
    _notes(console, notes(checkpoint, chosen, whole, tied, overlaps(checkpoint), told))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _tree(
    console: Console,
    checkpoint: Checkpoint,
    page: Page,
    tied: tuple[Group, ...],
    told: Mapping[str, Guess],
) -> None:
    keep = page.selection.tensors(checkpoint) if page.selection.narrows else None
    chosen = pick(checkpoint)
    names = alias_name(checkpoint)
    firsts = {tensor.path: names(group)[0] for group in tied for tensor in group[1:]}
    root = tree(checkpoint, chosen, keep, firsts)
    view = View(parameters(checkpoint, tied), firsts, page.depth, page.expand, page.selection.order, told)
    shown = list(islice(rows(root, view), MOST_ROWS + 1))
    if not shown and keep is not None and not keep:
        console.print(Text("\n  no tensor matches --include and --exclude", "yellow"))
    if not shown:
        return
    console.print()
    name = "(model)" if chosen is not None else "(saved object)"
    top = " ".join([name, described(root.meta) or seeming(told.get(""))]).strip()
    mixed = len(devices(checkpoint)) > 1
    for bars in (True, False):
        table = [_heading(top, mixed), *(_cells(row, mixed, bars) for row in shown[:MOST_ROWS])]
        widths = _widths(table)
        if sum(width + 2 for width in widths if width) + 2 <= console.width:
            break
    _print_rows(console, table, widths)
    if len(shown) > MOST_ROWS:
        ways = "--depth N cuts, --include GLOB narrows, --format csv lists every tensor"
        console.print(Text(f"  … only the first {MOST_ROWS} rows are shown: {ways}", "yellow"))


def _heading(top: str, mixed: bool) -> list[str]:
    return [top, "shape", "dtype", "device" if mixed else "", "params", "", "share", ""]


def _cells(row: Row, mixed: bool, bars: bool) -> list[str]:
    label = row.guide + row.name + (f"   {row.detail}" if row.detail else "")
    if row.remark:
        return [f"{label}  {row.remark}"]
    number = "" if row.parameters is None else grouped(row.parameters)
    times = f"×{row.times:,}" if row.times > 1 and row.parameters is not None else ""
    share = "" if row.share is None else f"{_bar(row.share) if bars else ''}{percent(row.share, 1):>8}"
    return [label, row.shape, row.dtype, row.device if mixed else "", number, times, share, row.note]


def _bar(share: float) -> str:
    full, part = divmod(round(share * _BAR * 8), 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(_BAR)


def _widths(table: list[list[str]]) -> list[int]:
    columns = zip(*(cells for cells in table if len(cells) > 1), strict=True)
    return [min(_WIDEST, max(map(cell_len, column))) for column in columns]


def _print_rows(console: Console, table: list[list[str]], widths: list[int]) -> None:
    # On a terminal remarks and names give way, in this order: numbers that are cut would lie.
    rest = sum(width + 2 for width in widths[1:-1] if width) + 2
    widths = [max(12, min(widths[0], console.width - rest)), *widths[1:]]
    for place, cells in enumerate(table):
        line = Text("  ", no_wrap=True, overflow="ignore")
        if len(cells) == 1:
            line.append(cells[0], "yellow")
        else:
            line.append_text(_line(cells, widths, console.width))
        line.rstrip()
        if place == 0:
            line.stylize("dim")
        line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)


def _line(cells: list[str], widths: list[int], room: int) -> Text:
    line = Text()
    for column, cell in enumerate(cells):
        if not widths[column]:
            continue
        text = Text(cell, _STYLES[column])
        if room < UNBOUNDED and column == _NAME:
            text.truncate(widths[column], overflow="ellipsis")
        padding = " " * (widths[column] - text.cell_len)
        tight = column == _NUMBER and widths[_NUMBER + 1]
        pieces = (padding, text) if column == _NUMBER else (text, padding)
        line = Text.assemble(line, *pieces, " " if tight else "  ")
    return line


def _notes(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    style = ""
    for subject, line in lines:
        style = _ALARMS.get(subject, style if not subject else "")
        grid.add_row(Text(f"  {subject}"), Text(line, style))
    if grid.row_count:
        console.print()
        console.print(grid)
