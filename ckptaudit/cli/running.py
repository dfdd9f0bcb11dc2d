"""What `record` and `verify` take: code, renamings, inputs, and how the model is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import click

from ckptaudit.cli.options import limit_option
from ckptaudit.limits import Limits
from ckptaudit.verify.observe import SEED
from ckptaudit.verify.processes import SECONDS
from ckptaudit.verify.verifying import Settings

_OPTIONS = (
    click.option("--model", metavar="CODE", help="pkg.mod:factory, your code that builds the model."),
    click.option(
        "--map", "maps", multiple=True, metavar="OLD=NEW", help="Rename keys before they are loaded."
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[NAME=]SHAPE[:DTYPE][<N]",
        help="'2x20:float32', 'ids=1x7:int64<50'; one for each argument.",
    ),
    click.option(
        "--inputs",
        "inputs_file",
        metavar="FILE",
        help="Arguments as tensors in a file, named or 0, 1, ...",
    ),
    click.option("--device", default="cpu", show_default=True, help="Where it runs: cpu, cuda, cuda:1."),
    click.option("--dtype", metavar="DTYPE", help="Run in this floating dtype; default: as the file has it."),
    click.option(
        "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of the processor."
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Of the inputs."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="What one process may take.",
    ),
    limit_option,
)


def running_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All of them on one command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(given: Mapping[str, Any]) -> Settings:
    """What they say."""
    return Settings(
        inputs=given["inputs"],
        inputs_file=given["inputs_file"],
        threads=given["threads"],
        seed=given["seed"],
        seconds=given["timeout"],
        limits=replace(Limits(), **dict(given["limit"])),
    )
