"""`ckptaudit rebuild`: from a checkpoint back to a loaded module, or to source."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from ckptaudit.cli.options import NOT_AUDITED, complain, hush, limit_option, say, unwritten
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import SECONDS, target
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at, split
from ckptaudit.output import replacing, write

NOT_WHOLE = 1
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".params", ".ckpt")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line."""

    path: str
    model: str | None
    maps: tuple[str, ...]
    device: str
    emit: str | None
    to: str | None
    form: str
    timeout: float
    limits: Limits


@click.command("rebuild")
@click.argument("path", metavar="PATH[::NAME]")
@click.option("--model", metavar="PKG.MOD:FACTORY", help="Your own architecture, built by your own code.")
@click.option("--map", "maps", multiple=True, metavar="OLD=NEW", help="Rename keys before they are loaded.")
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda[:N]|auto",
              help="Where to load it; auto is a GPU where there is one.")  # fmt: skip
@click.option("--emit", metavar="FILE", help="Write the architecture as Python source; - is stdout.")
@click.option("--to", metavar="FILE", help="Write the weights again: safetensors, or as torch.save does.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True,
              metavar="SECONDS", help="What the code behind --model may take.")  # fmt: skip
@limit_option
@click.pass_context
def command(
    ctx: click.Context,
    path: str,
    model: str | None,
    maps: tuple[str, ...],
    device: str,
    emit: str | None,
    to: str | None,
    form: str,
    timeout: float,
    limit: tuple[tuple[str, int], ...],
) -> None:
    """Rebuild the model that a checkpoint holds, load it, and say how much of it is known.

    Modules of torch.nn whose configuration is in the file (a whole module, TorchScript, .pt2) are built
    exactly; from a state dict layers are inferred. Nothing in the file runs; --model names code of yours,
    which runs in a child process. Needs torch.

    Exit codes: 0 everything that the file holds is in place, 1 not everything fits, 2 wrong usage, 3 it could
    not be read, built or written.
    """
    if model and emit:
        raise click.UsageError("--emit writes what is inferred: it takes no --model, whose source is there")
    if maps and not model:
        raise click.UsageError("--map renames keys for --model")
    _keep_apart(emit, path)
    if to and not to.endswith(SUFFIXES):
        raise click.UsageError(f"what is {to!r} to be? name it {', '.join(SUFFIXES)}")
    limits = replace(Limits(), **dict(limit))
    request = Request(path, model, maps, device, emit, to, form, timeout, limits)
    try:
        found = _with_model(request, model) if model else _from_file(request)
        if emit != "-":  # else the source alone is printed
            say(_rendered(found, form))
        sys.stdout.flush()
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(NOT_AUDITED)
    except BrokenPipeError:
        hush()
    except OSError as error:
        unwritten(error)
        ctx.exit(NOT_AUDITED)
    ctx.exit(0 if found["fits"] else NOT_WHOLE)


def _keep_apart(emit: str | None, path: str) -> None:
    """Refuse to write source over the checkpoint that it is made of."""
    if emit is not None and os.path.realpath(emit) == os.path.realpath(split(path)[0]):
        raise click.UsageError(f"{emit} is the checkpoint, and would be overwritten by its source")


def _from_file(request: Request) -> dict[str, Any]:
    from ckptaudit.rebuild import rebuild
    from ckptaudit.rebuild.document import document

    rebuilt = rebuild(request.path, device=request.device, limits=request.limits)
    if request.emit is not None:
        from ckptaudit.rebuild.emit import source

        assert rebuilt.plan is not None
        text = source(rebuilt.plan)
        if request.emit == "-":
            say(text.rstrip("\n"))
        else:
            write(request.emit, text)
    if request.to is not None:
        from ckptaudit.rebuild.write import save

        save(rebuilt, request.to)
    return document(rebuilt)


def _with_model(request: Request, model: str) -> dict[str, Any]:
    from ckptaudit.isolated.process import ask

    module, factory = target(model, f"--model {model}")
    read_at(request.path, request.limits)  # what is wrong with the file is told as such, before any code runs
    asked = {
        "path": request.path,
        "module": module,
        "factory": factory,
        "maps": request.maps,
        "device": request.device,
        "to": request.to,
        "limits": asdict(request.limits),
    }
    # The name that is written to is ours: what a child leaves that is ended is cleared away here.
    with replacing(request.to) if request.to else nullcontext("") as draft:
        asked["draft"] = draft
        return ask("ckptaudit.rebuild.child", asked, f"--model {model}", request.timeout)


def _rendered(found: dict[str, Any], form: str) -> str:
    if form == "json":
        from ckptaudit.reports.rebuild import json

        return json.render(found).rstrip("\n")
    from ckptaudit.reports.rebuild import text

    return text.render(found).rstrip("\n")
