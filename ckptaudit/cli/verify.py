"""`ckptaudit verify`: are the outputs equal? A checkpoint against a golden record, or against another one."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from ckptaudit.cli.options import NOT_AUDITED, WRONG_USAGE, complain, hush, say, unwritten
from ckptaudit.cli.running import running_options, settings_of
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import ChildError
from ckptaudit.reports.verify import FORMATS, render
from ckptaudit.verify.verifying import InputError, Side, verify_against, verify_record


@click.command("verify")
@click.argument("path", metavar="PATH[::NAME]")
@click.option("--record", metavar="FILE", help="A golden record, made by `ckptaudit record`.")
@click.option("--against", metavar="PATH[::NAME]", help="Another checkpoint.")
@click.option("--against-model", metavar="CODE", help="Its code; default: that of --model.")
@click.option("--against-device", metavar="DEVICE", help="Where it runs; default: the same device.")
@running_options
@click.option("--allow-close", is_flag=True, help="Exit with 0 for `close` too.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    path: str,
    record: str | None,
    against: str | None,
    against_model: str | None,
    against_device: str | None,
    allow_close: bool,
    form: str,
    **given: Any,
) -> None:
    """Are the outputs equal? The model is run in fresh processes, on the same inputs as the reference.

    The verdict is `equal` (in every bit), `close (float16)` (on another device, in another dtype: within its
    rounding), `different`, `nondeterministic`, `stochastic`, or `incomplete`: it could not be told. Where
    outputs differ, the first module that parts from the reference is named.

    Exit codes: 0 equal, 1 any other verdict, 2 wrong usage, 3 a file could not be read.
    """
    if (record is None) == (against is None):
        raise click.UsageError("give one reference: --record FILE or --against PATH")
    if record is not None:
        _refuse(ctx, "inputs", "inputs_file", "threads", "seed")
    maps = given["maps"]
    side = Side(path, given["model"], maps, given["device"], given["dtype"])
    try:
        settings = settings_of(given)
        if record is not None:
            found = verify_record(side, record, settings)
        else:
            own_maps = maps if against_model is None else ()
            other = Side(str(against), against_model or side.model, own_maps, against_device or side.device)
            found = verify_against(side, other, settings)
        say(render(form, found).removesuffix("\n"))
    except (ChildError, InputError) as error:  # no name of code, no input
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
    ctx.exit(0 if found.equal or (found.close and allow_close) else 1)


def _refuse(ctx: click.Context, *names: str) -> None:
    """What a record says itself, and nobody else."""
    for parameter in ctx.command.params:
        is_given = ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if parameter.name in names and is_given:
            raise click.UsageError(f"{parameter.opts[0]} is what the record says: leave it out with --record")
