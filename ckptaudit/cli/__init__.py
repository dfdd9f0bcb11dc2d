"""The `ckptaudit` command. Each subcommand is one file of this folder, imported only when it is used."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

import click

# Name of the subcommand (and of its file), and the line about it in `ckptaudit --help`.
COMMANDS = {
    "inspect": "Show what is in a checkpoint, without running anything in it.",
    "check": "Audit checkpoints with rules; the exit code is the gate.",
    "graph": "Draw a checkpoint as a picture, or write its graph for other programs.",
    "rebuild": "Rebuild the model of a checkpoint, load it, and say what is known of it.",
    "record": "Write down what a model answers, to verify other checkpoints and machines against.",
    "verify": "Compare the outputs of two models, or of one with its record.",
    "lock": "Write what a checkpoint holds as a small file to compare others with.",
    "rules": "List the rules.",
    "explain": "Show the page of a rule.",
}

INTERRUPTED, TERMINATED = 130, 143  # 128 + SIGINT, 128 + SIGTERM, as shells have them


class LazyGroup(click.Group):
    """Knows its commands by name, and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every subcommand."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported now; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ckptaudit.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, written without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ckptaudit")
def group() -> None:
    """Look into PyTorch and safetensors checkpoints: nothing in a file ever runs, and no torch is needed."""


def run() -> int:
    """Run the command line; the exit code."""
    try:
        code: int | None = group.main(prog_name="ckptaudit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:  # a full disk under --help, or a bug of ours: one line all the same
        code = _give_up(error)
    return code or 0


def _give_up(error: Exception) -> int:
    from ckptaudit.cli.options import NOT_AUDITED, complain, hush, unwritten

    if isinstance(error, BrokenPipeError):
        hush()
        return 0
    if isinstance(error, OSError):
        unwritten(error)
    else:
        complain(f"internal error ({type(error).__name__}: {error}); please report it")
    return NOT_AUDITED


def main() -> None:
    """The entry point: runs the command line and ends the process."""
    # A short process that makes up to millions of small objects, and frees them all at once by ending:
    # looking for garbage among them takes a third of its time and finds none, and taking them apart one by
    # one at the end takes a twentieth more.
    gc.disable()
    # What has been started, or written for a while, is cleared away when a job is cancelled, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    for name in ("stdout", "stderr"):  # closed by whoever started us
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    code = run()
    with suppress(OSError):  # nobody reads on
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
