"""`ckptaudit check`: rules over checkpoints, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ckptaudit import config as configs
from ckptaudit.audit import FileReport, Report
from ckptaudit.cli.options import NOT_AUDITED, WRONG_USAGE, complain, hush, limit_option, unwritten
from ckptaudit.errors import CkptAuditError
from ckptaudit.gate import Each, Request, expand_paths, perform
from ckptaudit.isolated import SECONDS
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at, split
from ckptaudit.model import Checkpoint
from ckptaudit.output import OutputError, write
from ckptaudit.parallel import processors
from ckptaudit.reports.check import FORMATS, render
from ckptaudit.text import encodable

_MANY = 20  # files from which on a bar shows how far it is

_Read = Callable[[FileReport], Checkpoint | None]


class FormatType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """FORMAT, written to stdout, or FORMAT=FILE."""

    name = "format"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """`sarif=out.sarif` -> ("sarif", "out.sarif"); `json` -> ("json", "")."""
        name, equals, file = value.partition("=")
        if name not in FORMATS:
            self.fail(f"{name!r} is no format; the formats are {', '.join(FORMATS)}", param, ctx)
        if equals and not file:
            self.fail(f"no file in {value!r}", param, ctx)
        return name, file


@click.command("check")
@click.argument("paths", nargs=-1, metavar="[PATH[::NAME]]...")
@click.option("--against", metavar="REF", help="Compare keys with a checkpoint, a lock file or code.")
@click.option("--map", "maps", multiple=True, metavar="OLD=NEW", help="Rename keys before they are compared.")
@click.option("--expect-device", metavar="DEVICE", help="The device that every tensor should be tagged with.")
@click.option("--deep", is_flag=True, default=None, help="Read every byte: compare checksums.")
@click.option("--select", multiple=True, metavar="RULE|GROUP", help="Run only these.")
@click.option("--ignore", multiple=True, metavar="RULE|GROUP", help="Leave these out.")
@click.option("--fail-on", type=click.Choice(["note", "warning", "error"]), help="Default: error.")
@click.option("--baseline", metavar="FILE", help="Findings in this file are accepted.")
@click.option("--update-baseline", is_flag=True, help="Accept today's findings: write them to the baseline.")
@click.option("--format", "forms", type=FormatType(), multiple=True, metavar="FORMAT[=FILE]",
              help=f"Any of {', '.join(FORMATS)}; several at once to files.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="The file of the --format that has none.")
@click.option(
    "--config", "config_file", metavar="FILE", help="Settings; default: the nearest pyproject.toml."
)
@click.option("--no-config", is_flag=True, help="Read no settings.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True,
              metavar="SECONDS", help="What the code behind --against module:... may take.")  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes for many files; default: all."
)
@limit_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    forms: tuple[tuple[str, str], ...],
    output: str | None,
    config_file: str | None,
    no_config: bool,
    **given: object,
) -> None:
    """Audit checkpoints: is it safe, is it whole, is it what the model expects?

    PATH is a file, an index of shards, a folder (all checkpoints below it) or a glob; PATH::NAME is one
    state dict of several. Nothing in a file is run. REF is another checkpoint, a file that `ckptaudit lock`
    wrote, or module:pkg.mod:factory, your own code, which builds the model in a child process.

    Exit codes: 0 clean, 1 findings at or above --fail-on, 2 wrong usage, 3 something could not be audited.
    """
    if len([name for name, file in forms if not file]) > 1:
        raise click.UsageError(
            "only one --format can go to stdout: give the others a file, --format FORMAT=FILE"
        )
    forms = _placed(forms, output)
    if no_config and config_file:
        raise click.UsageError("--config and --no-config exclude each other")
    try:
        _want_libraries(forms)
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(NOT_AUDITED)
    try:
        path = None if no_config else config_file or configs.find()
        request = _request(paths, configs.load(path) if path else configs.Config(), given)
        files = expand_paths(request)
        _keep_apart(forms, files)
        with _progress(files) as each:
            report = perform(request, files, each)
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(WRONG_USAGE)
    ctx.exit(report.exit_code if _write(report, forms, _reader(request)) else NOT_AUDITED)


def _placed(forms: tuple[tuple[str, str], ...], output: str | None) -> tuple[tuple[str, str], ...]:
    """`--format html -o x.html` says the same as `--format html=x.html`."""
    if output is None:
        return forms
    if all(file for _, file in forms):
        raise click.UsageError("-o names the file of a --format that has none: add --format FORMAT")
    return tuple((name, file or output) for name, file in forms)


def _want_libraries(forms: tuple[tuple[str, str], ...]) -> None:
    """Raise CkptAuditError now, and not after the audit, where a format lacks what it is made with."""
    if any(name == "html" for name, _ in forms):
        from ckptaudit.reports.html.page import require

        require()


def _reader(request: Request) -> _Read:
    """A function that reads a file again as it was read to be audited; None where that fails now."""
    limits = Limits(**{**request.config.limits, **request.limits})

    def read(file: FileReport) -> Checkpoint | None:
        try:
            return read_at(file.path, limits)
        except Exception:  # the report on the file says what is wrong with it
            return None

    return read


def _request(paths: tuple[str, ...], config: configs.Config, given: dict[str, object]) -> Request:
    select: tuple[str, ...] = given["select"]  # type: ignore[assignment]
    return Request(
        paths,
        configs.Options(
            select=_parts(select) or None,
            ignore=_parts(given["ignore"]),  # type: ignore[arg-type]
            against=given["against"],  # type: ignore[arg-type]
            map=given["maps"],  # type: ignore[arg-type]
            expect_device=given["expect_device"],  # type: ignore[arg-type]
            deep=given["deep"],  # type: ignore[arg-type]
        ),
        config,
        fail_on=given["fail_on"],  # type: ignore[arg-type]
        baseline=given["baseline"],  # type: ignore[arg-type]
        update_baseline=bool(given["update_baseline"]),
        limits=dict(given["limit"]),  # type: ignore[call-overload]
        seconds=given["timeout"],  # type: ignore[arg-type]
        jobs=given["jobs"] or processors(),  # type: ignore[arg-type]
    )


def _parts(values: tuple[str, ...]) -> tuple[str, ...]:
    """`--select trust,keys` says the same as `--select trust --select keys`."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


@contextmanager
def _progress(files: list[str]) -> Iterator[Each]:
    """A bar on stderr, where that is a terminal and there is something to wait for."""
    if len(files) < _MANY or not sys.stderr.isatty():
        yield lambda report: None
        return
    with click.progressbar(length=len(files), label="checking", file=sys.stderr) as bar:

        def advance(report: FileReport) -> None:
            bar.update(1)

        yield advance


def _keep_apart(forms: tuple[tuple[str, str], ...], files: list[str]) -> None:
    """Refuse to write a report over a checkpoint that is to be audited."""
    audited = {os.path.realpath(split(path)[0]) for path in files}
    for _, file in forms:
        if file and os.path.realpath(file) in audited:
            raise OutputError(file, "is to be audited, and would be overwritten by the report")


def _write(report: Report, forms: tuple[tuple[str, str], ...], read: _Read) -> bool:
    """Write all that is asked for, and text where no other format goes to stdout; whether that worked."""
    worked = _show(report, next((name for name, file in forms if not file), "text"), read)
    for name, file in forms:
        try:
            if file:
                write(file, render(name, report, read=read))
        except CkptAuditError as error:
            complain(str(error))
            worked = False
    return worked


def _show(report: Report, name: str, read: _Read) -> bool:
    try:
        colour = name == "text" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        page = render(name, report, colour=colour, read=read)
        sys.stdout.write(encodable(page, sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()
    except BrokenPipeError:
        hush()
    except OSError as error:
        unwritten(error)
        return False
    return True
