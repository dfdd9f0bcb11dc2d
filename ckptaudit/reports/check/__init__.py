"""What `check` prints, one format a file: FORMATS names them, and each is imported when it is asked for.

To add a format, write `some.py` with `render(report) -> str` that ends with a newline, and put its name
here. Every string in a report can be an attacker's: none may break out of the format, or reach a terminal
or a log as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ckptaudit.audit import FileReport, Report
from ckptaudit.model import Checkpoint

FORMATS = ("text", "json", "sarif", "github", "junit", "gitlab", "markdown", "html")


def render(
    name: str,
    report: Report,
    *,
    colour: bool = False,
    read: Callable[[FileReport], Checkpoint | None] | None = None,
) -> str:
    """`report` in the format called `name`. Raises KeyError for another name.

    Only `text` knows colours, and only `html` shows the trees of the checkpoints that `read` gives again.
    """
    if name not in FORMATS:
        raise KeyError(name)
    module = import_module(f"ckptaudit.reports.check.{name}")
    more: dict[str, Any] = {}
    if colour and name == "text":
        more = {"colour": True}
    elif read is not None and name == "html":
        more = {"read": read}
    page: str = module.render(report, **more)
    return page
