"""`ckptaudit lock`: what a checkpoint holds, as a small file to compare others with."""

from __future__ import annotations

import sys

import click

from ckptaudit.baseline import write
from ckptaudit.blueprint import SECONDS, load
from ckptaudit.blueprint.lock import dump
from ckptaudit.cli.options import complain
from ckptaudit.errors import CkptAuditError

NOT_AUDITED = 3


@click.command("lock")
@click.argument("path", metavar="PATH[::NAME]")
@click.option("-o", "--output", metavar="FILE", help="Where to write it; default: stdout.")
@click.pass_context
def command(ctx: click.Context, path: str, output: str | None) -> None:
    """Write down keys, shapes, dtypes and ties: a reference for `check --against`, made for review.

    PATH is a checkpoint, or module:pkg.mod:factory for what your own code builds. The file is JSON, sorted,
    one tensor a line: a change of the model is a change of lines in a diff.

    Exit codes: 0 written, 2 wrong usage, 3 the checkpoint could not be read completely.
    """
    try:
        text = dump(load(path, seconds=SECONDS))
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            write(output, text)
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(NOT_AUDITED)
