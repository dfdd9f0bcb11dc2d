"""`ckptaudit inspect`: what is in a checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from typing import TextIO

import click

from ckptaudit import output
from ckptaudit.cli.options import NOT_AUDITED, complain, hush, limit_option, unwritten
from ckptaudit.errors import CkptAuditError
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at, split
from ckptaudit.model import Checkpoint
from ckptaudit.reports.inspect.selection import Selection
from ckptaudit.text import encodable


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line."""

    format: str
    selection: Selection
    limits: Limits
    depth: int | None
    expand: tuple[str, ...]
    output: str | None = None


@click.command("inspect")
@click.argument("paths", nargs=-1, required=True, metavar="PATH[::NAME]...")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv", "markdown", "html"]), default="text"
)
@click.option("-o", "--output", "to", metavar="FILE", help="Write to this file, and not to stdout.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Show N levels of modules.")
@click.option("--expand", multiple=True, metavar="GLOB", help="Show modules of this path unfolded.")
@click.option("--include", multiple=True, metavar="GLOB", help="Show only tensors of this key.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out tensors of this key.")
@click.option("--sort", type=click.Choice(["name", "size", "file"]), help="Order of rows.")
@limit_option
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    form: str,
    to: str | None,
    depth: int | None,
    expand: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    sort: str | None,
    limit: tuple[tuple[str, int], ...],
) -> None:
    """Show what is in a checkpoint: modules, parameters, ties, devices, and what is unknown.

    PATH is a file, a folder or an index of shards; PATH::NAME shows the state dict NAME in it. Globs
    are matched against whole names, `*` takes dots too, and each may be given several times.

    Exit codes: 0 read completely, 2 wrong usage, 3 something could not be read.
    """
    if len(paths) > 1 and form != "text":
        raise click.UsageError(f"--format {form} takes one PATH")
    if to and len(paths) > 1:
        raise click.UsageError("--output takes one PATH")
    if to and os.path.realpath(to) == os.path.realpath(split(paths[0])[0]):
        raise click.UsageError(f"{to} is to be shown, and would be overwritten")
    if form == "html" and not _can_make_pages():
        ctx.exit(NOT_AUDITED)
    request = Request(
        form,
        Selection(include, exclude, sort),  # type: ignore[arg-type]
        replace(Limits(), **dict(limit)),
        depth,
        expand,
        to,
    )
    ctx.exit(max([_inspect(path, request) for path in paths]))


def _can_make_pages() -> bool:
    from ckptaudit.reports.html.page import require

    try:
        require()
    except CkptAuditError as error:
        complain(str(error))
        return False
    return True


def _inspect(path: str, request: Request) -> int:
    """Show one file; the exit code it deserves."""
    try:
        checkpoint = read_at(path, request.limits)
        worked = _deliver(lambda out: _show(checkpoint, request, out), request)
        return _code(checkpoint) if worked else NOT_AUDITED
    except CkptAuditError as error:
        return _refuse(path, request, str(error), error)
    except Exception as error:  # our own bug: still one line, and no verdict on the file
        told = f"{path}: internal error ({type(error).__name__}: {error}); please report it, with the file"
        return _refuse(path, request, told, None)


def _code(checkpoint: Checkpoint) -> int:
    return NOT_AUDITED if any(problem.incomplete for problem in checkpoint.problems) else 0


def _deliver(write: Callable[[TextIO], None], request: Request) -> bool:
    """Let `write` write to where the output is to go; whether that worked."""
    try:
        if request.output is None:
            write(sys.stdout)
            sys.stdout.flush()
        else:
            text = StringIO()
            write(text)
            output.write(request.output, text.getvalue())
    except BrokenPipeError:
        hush()
    except OSError as error:
        unwritten(error)
        return False
    except output.OutputError as error:
        complain(str(error))
        return False
    return True


def _show(checkpoint: Checkpoint, request: Request, out: TextIO) -> None:
    if request.format == "json":
        from ckptaudit.reports.inspect.json import write

        write(checkpoint, out, request.selection)
    elif request.format == "text":
        out.write(encodable(_page(checkpoint, request), out.encoding or "utf-8"))
    elif request.format == "html":
        from ckptaudit.reports.html.page import inspected
        from ckptaudit.reports.html.part import View

        out.write(inspected(checkpoint, View(request.selection, request.depth, request.expand)))
    else:
        _show_table(checkpoint, request, out)


def _page(checkpoint: Checkpoint, request: Request) -> str:
    from ckptaudit.reports.inspect.text import Page, render

    terminal = request.output is None and sys.stdout.isatty()
    columns = os.get_terminal_size(sys.stdout.fileno()).columns if terminal else None
    page = Page(request.selection, request.depth, request.expand, columns or None, terminal)
    return render(checkpoint, page)


def _show_table(checkpoint: Checkpoint, request: Request, out: TextIO) -> None:
    from ckptaudit.reports.inspect import csv, markdown

    text = StringIO()
    write = csv.write if request.format == "csv" else markdown.write
    write(checkpoint, text, request.selection)
    out.write(encodable(text.getvalue(), out.encoding or "utf-8"))


def _refuse(path: str, request: Request, told: str, error: CkptAuditError | None) -> int:
    """One line on stderr, and where a document was asked for one that says so."""
    complain(told)
    if request.format == "json":
        from ckptaudit.reports.inspect.json import write_error

        _deliver(lambda out: write_error(path, error, told, out), request)
    elif request.format == "html":
        from ckptaudit.reports.html.page import refused

        page = refused(path, told)
        _deliver(lambda out: print(page, end="", file=out), request)
    return NOT_AUDITED
