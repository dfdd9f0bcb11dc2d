"""`ckptaudit graph`: a checkpoint as a picture."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

import click

from ckptaudit.audit import Finding, Severity
from ckptaudit.cli.options import NOT_AUDITED, complain, hush, limit_option, unwritten
from ckptaudit.diagram.parts import Options
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import SECONDS
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at, split
from ckptaudit.model import Checkpoint
from ckptaudit.output import OutputError, write
from ckptaudit.text import encodable, safe

FORMS = ("svg", "png", "dot", "graphml", "json")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line; `output` is None for stdout."""

    path: str
    output: str | None
    form: str
    options: Options
    against: str | None
    has_findings: bool
    seconds: float
    limits: dict[str, int]


@click.command("graph")
@click.argument("path", metavar="PATH[::NAME]")
@click.option("-o", "--output", metavar="FILE", help=f"Where to write it: FILE.{'|'.join(FORMS)}.")
@click.option("--format", "form", type=click.Choice(FORMS), help="Default: after the name of FILE, else dot.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw N levels of modules.")
@click.option("--expand", multiple=True, metavar="GLOB", help="Draw modules of this path unfolded and open.")
@click.option("--max-nodes", type=click.IntRange(min=2), default=30, show_default=True, metavar="N",
              help="Choose the depth so that at most N boxes are drawn.")  # fmt: skip
@click.option("--rankdir", type=click.Choice(["TB", "LR"]), default="TB", show_default=True,
              help="Fill the page row by row, or column by column.")  # fmt: skip
@click.option("--color", type=click.Choice(["device", "dtype", "size", "finding"]), default="device",
              show_default=True, help="What the colour of a box tells.")  # fmt: skip
@click.option("--link", default="", metavar="PREFIX", help="Make parts links: PREFIX and their id.")
@click.option("--against", metavar="REF", help="Draw what is missing, unexpected and renamed against REF.")
@click.option("--findings/--no-findings", default=True, help="Colour what warnings and errors are about.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True,
              metavar="SECONDS", help="What drawing, or the code behind module:..., may take.")  # fmt: skip
@limit_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    path: str,
    output: str | None,
    form: str | None,
    against: str | None,
    findings: bool,
    timeout: float,
    limit: tuple[tuple[str, int], ...],
    **drawn: object,
) -> None:
    """Draw a checkpoint: modules in modules, blocks alike folded, ties, devices, findings.

    Without -o, DOT goes to stdout. SVG and PNG are drawn by the system's Graphviz where there is one, else by
    the one of `pip install 'ckptaudit[graph]'`; DOT, GraphML and JSON need neither. REF is another
    checkpoint, a file that `ckptaudit lock` wrote, or module:pkg.mod:factory, your own code.

    Exit codes: 0 drawn, 2 wrong usage, 3 something could not be read, or nothing written.
    """
    options = Options(**drawn)  # type: ignore[arg-type]
    chosen = form or _form(output)
    ctx.exit(_draw(Request(path, output, chosen, options, against, findings, timeout, dict(limit))))


def _form(output: str | None) -> str:
    if output is None:
        return "dot"
    suffix = os.path.splitext(output)[1].lower().removeprefix(".")
    if suffix not in FORMS:
        raise click.UsageError(f"what is {output!r} to be? name it .{', .'.join(FORMS)}, or add --format")
    return suffix


def _draw(request: Request) -> int:
    """Read, draw and write; the exit code."""
    try:
        _keep_apart(request)
        checkpoint = read_at(request.path, replace(Limits(), **request.limits))
        _write(request, _made(checkpoint, request))
    except CkptAuditError as error:
        complain(str(error))
        return NOT_AUDITED
    except BrokenPipeError:
        hush()
        return 0
    except OSError as error:
        unwritten(error)
        return NOT_AUDITED
    problem = next((problem for problem in checkpoint.problems if problem.incomplete), None)
    if problem is None:
        return 0
    complain(f"{request.path}: not read completely: {problem.detail}")
    return NOT_AUDITED


def _keep_apart(request: Request) -> None:
    """Refuse to write a picture over the checkpoint that it is of."""
    if request.output and os.path.realpath(request.output) == os.path.realpath(split(request.path)[0]):
        raise OutputError(request.output, "is the checkpoint, and would be overwritten by its picture")


def _made(checkpoint: Checkpoint, request: Request) -> bytes:
    if request.form in ("graphml", "json"):
        from ckptaudit.diagram.exports import document, graphml

        return (document if request.form == "json" else graphml)(checkpoint).encode()
    from ckptaudit.diagram.dot import dot
    from ckptaudit.diagram.picture import picture
    from ckptaudit.diagram.standing import against

    match = against(checkpoint, request.against, request.seconds) if request.against else None
    made = picture(checkpoint, request.options, findings=_findings(request), match=match)
    for line in made.folded:
        _tell(line)
    text = dot(made)
    if request.form == "dot":
        return text.encode()
    from ckptaudit.diagram.draw import draw

    drawn = draw(text, "png" if request.form == "png" else "svg", request.seconds)
    _tell(f"drawn by {drawn.by}")
    return drawn.data


def _findings(request: Request) -> tuple[Finding, ...]:
    """Warnings and errors that `ckptaudit check` has, with the settings that it has by itself."""
    if not request.has_findings:
        return ()
    from ckptaudit import gate
    from ckptaudit.config import Options as Settings

    asked = gate.Request(
        (request.path,),
        Settings(against=request.against),
        limits=request.limits,
        seconds=request.seconds,
    )
    report = gate.perform(asked, [request.path])
    return tuple(
        finding for file in report.files for finding in file.findings if finding.severity >= Severity.WARNING
    )


def _tell(told: str) -> None:
    """One line on stderr, which is no error."""
    with suppress(OSError):
        click.echo(encodable(safe(told), sys.stderr.encoding or "utf-8"), err=True)


def _write(request: Request, data: bytes) -> None:
    """To stdout, or in one step over what was there."""
    if request.output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    write(request.output, data)
