"""`ckptaudit record`: what a model gives for some inputs, kept to be compared with."""

from __future__ import annotations

from typing import Any

import click

from ckptaudit.cli.options import NOT_AUDITED, WRONG_USAGE, complain, hush, say, unwritten
from ckptaudit.cli.running import running_options, settings_of
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import ChildError
from ckptaudit.reports.verify import render
from ckptaudit.reports.verify.text import line
from ckptaudit.text import plural
from ckptaudit.verify.recording import record
from ckptaudit.verify.verifying import InputError, Side


@click.command("record")
@click.argument("path", metavar="PATH[::NAME]")
@click.option("-o", "--output", required=True, metavar="FILE", help="The record, a safetensors file.")
@running_options
@click.pass_context
def command(ctx: click.Context, /, path: str, output: str, **given: Any) -> None:
    """Write a golden record: inputs, outputs, what every module gave, digests of weights, how it was run.

    The model is built and run twice, in fresh processes; one that does not give the same bits both times is
    not recorded, and the report says why.

    Exit codes: 0 written, 1 not recorded, 2 wrong usage, 3 a file could not be read or written.
    """
    side = Side(path, given["model"], given["maps"], given["device"], given["dtype"])
    try:
        found = record(side, output, settings_of(given))
        if found.equal:
            outputs = plural(len(found.outputs), "output")
            say(f"{line(output)} written: {outputs} of {line(path)}, the same in two processes")
        else:
            complain(f"{path} is not recorded ({found.verdict}): {found.reason}")
            click.echo(render("text", found), err=True, nl=False)
    except (ChildError, InputError) as error:
        complain(str(error))
        ctx.exit(WRONG_USAGE)
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(NOT_AUDITED)
    except BrokenPipeError:
        hush()
        return
    except OSError as error:
        unwritten(error)
        ctx.exit(NOT_AUDITED)
    ctx.exit(0 if found.equal else 1)
