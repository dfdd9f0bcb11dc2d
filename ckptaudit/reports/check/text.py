"""For a person, or a pipe: a block a finding, then what was counted and what was not looked at."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import FileReport, Finding, Report, Severity
from ckptaudit.reports.check.wording import coverage, line, summary

_INDENT = " " * 9  # past the longest severity
_COLOURS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[33m", Severity.NOTE: "\x1b[36m"}
_PLAIN = "\x1b[0m"


def render(report: Report, colour: bool = False) -> str:
    """The report as lines of text, escape sequences of colour in it only where `colour` asks for them."""
    explained: set[str] = set()
    blocks = [text for file in report.files for text in _file(file, explained, colour)]
    return "\n".join((*blocks, *summary(report), ""))


def _file(file: FileReport, explained: set[str], colour: bool) -> Iterator[str]:
    path = line(file.path)
    for finding in file.findings:
        severity = _severity(finding.severity, colour)
        yield f"{severity}  {line(finding.rule)}  {path}  {line(finding.message)}"
        yield from _below(finding, explained)
    if file.coverage is not None:
        yield f"{path}  {coverage(file.coverage)}"


def _severity(severity: Severity, colour: bool) -> str:
    padded = f"{severity!s:<7}"
    return f"{_COLOURS[severity]}{padded}{_PLAIN}" if colour else padded


def _below(finding: Finding, explained: set[str]) -> Iterator[str]:
    """What to do, and, once for each rule, how to read more about it."""
    if finding.fix is not None:
        yield f"{_INDENT}fix: {line(finding.fix)}"
    if finding.rule not in explained:
        explained.add(finding.rule)
        yield f"{_INDENT}why: ckptaudit explain {line(finding.rule)}"
