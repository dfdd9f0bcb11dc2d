"""What several commands take, and how all of them write."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import fields

import click

from ckptaudit.limits import Limits
from ckptaudit.text import clip, encodable, safe

WRONG_USAGE, NOT_AUDITED = 2, 3


class LimitType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """NAME=VALUE, the name a field of Limits and the value a count."""

    name = "name=value"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """`depth=900` -> ("depth", 900)."""
        name, _, number = value.partition("=")
        names = [field.name for field in fields(Limits)]
        if name not in names:
            self.fail(f"{name!r} is no limit; the limits are {', '.join(names)}", param, ctx)
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            self.fail(f"{name} takes a whole number, not {number!r}", param, ctx)
        return name, int(number)


limit_option = click.option(
    "--limit", type=LimitType(), multiple=True, metavar="NAME=VALUE", help="Raise a cap on input."
)


def say(told: str) -> None:
    """Text of our own on stdout, drawn in ASCII where the stream knows no more."""
    click.echo(encodable(told, sys.stdout.encoding or "utf-8"))


def complain(told: str) -> None:
    """One line on stderr, harmless whatever the names in it hold."""
    with suppress(OSError):
        # GitHub's runner takes `##[` anywhere in a log for a command.
        line = f"error: {safe(clip(told, 1000))}".replace("##[", "#\\x23[")
        click.echo(encodable(line, sys.stderr.encoding or "utf-8"), err=True)


def unwritten(error: OSError) -> None:
    """A full disk, say: no fault of the file's, and none of ours."""
    if error.filename is None:
        hush()
    name = "the output" if error.filename is None else str(error.filename)
    complain(f"{name} could not be written: {error.strerror or error}")


def hush() -> None:
    """Whoever reads our output has seen enough: that is no fault of the file's."""
    # Python flushes stdout once more when it ends, and would complain there.
    with suppress(OSError):  # no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
