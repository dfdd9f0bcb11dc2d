"""A Comparison as text for a person or as JSON: one format a file, looked up by name."""

from __future__ import annotations

from importlib import import_module

from ckptaudit.verify.comparison import Comparison

FORMATS = ("text", "json")


def render(form: str, found: Comparison) -> str:
    """The report in one of FORMATS."""
    text: str = import_module(f"ckptaudit.reports.verify.{form}").render(found)
    return text
