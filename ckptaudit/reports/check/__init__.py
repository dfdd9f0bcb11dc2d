"""What `check` prints, one format a file: FORMATS names them, and each is imported when it is asked for.

To add a format, write `some.py` with `render(report) -> str` that ends with a newline, and put its name
here. Every string in a report can be an attacker's: none may break out of the format, or reach a terminal
or a log as it is.
"""

from __future__ import annotations

from importlib import import_module

from ckptaudit.audit import Report

FORMATS = ("text", "json", "sarif", "github", "junit", "gitlab", "markdown")


def render(name: str, report: Report, *, colour: bool = False) -> str:
    """`report` in the format called `name`. Only `text` knows colours. Raises KeyError for another name."""
    if name not in FORMATS:
        raise KeyError(name)
    module = import_module(f"ckptaudit.reports.check.{name}")
    page: str = module.render(report, colour=True) if colour and name == "text" else module.render(report)
    return page
