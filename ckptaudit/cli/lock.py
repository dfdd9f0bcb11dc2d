"""`ckptaudit lock`: what a checkpoint holds, as a small file to compare others with."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click

from ckptaudit.blueprint import load
from ckptaudit.blueprint.lock import dump
from ckptaudit.cli.options import NOT_AUDITED, complain, hush, limit_option, unwritten
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import SECONDS
from ckptaudit.limits import Limits
from ckptaudit.output import OutputError, write


@click.command("lock")
@click.argument("path", metavar="PATH[::NAME]")
@click.option("-o", "--output", metavar="FILE", help="Where to write it; default: stdout.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True,
              metavar="SECONDS", help="What the code behind module:... may take.")  # fmt: skip
@limit_option
@click.pass_context
def command(
    ctx: click.Context, path: str, output: str | None, timeout: float, limit: tuple[tuple[str, int], ...]
) -> None:
    """Write down keys, shapes, dtypes and ties: a reference for `check --against`, made for review.

    PATH is a checkpoint, or module:pkg.mod:factory for what your own code builds. The file is JSON, sorted,
    one tensor a line: a change of the model is a change of lines in a diff.

    Exit codes: 0 written, 2 wrong usage, 3 the checkpoint could not be read completely, or nothing written.
    """
    try:
        text = dump(load(path, replace(Limits(), **dict(limit)), timeout))
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            _keep(output)
            write(output, text)
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(NOT_AUDITED)
    except BrokenPipeError:
        hush()
    except OSError as error:
        unwritten(error)
        ctx.exit(NOT_AUDITED)


def _keep(output: str) -> None:
    """Refuse to write over a file that is no lock: a checkpoint, say, where two names were mixed up."""
    if os.path.isfile(output) and os.path.getsize(output):
        with open(output, "rb") as file:
            if b'"ckptaudit.lock/' not in file.read(4096):
                raise OutputError(output, "is no lock file, and is not overwritten", remedy="remove it first")
