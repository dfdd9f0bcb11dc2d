"""Workflow commands for GitHub Actions: an annotation a finding, then a summary in plain lines.

The commands are told at
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands, how they are escaped
by their parser (actions/runner, src/Runner.Common/ActionCommand.cs).
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Report, Severity
from ckptaudit.reports.check.wording import coverage, line, summary
from ckptaudit.text import grouped

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_SHOWN = 10  # annotations of one level in one step, by the limits of GitHub; the rest is in the log only

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = _DATA | str.maketrans({":": "%3A", ",": "%2C"})


def render(report: Report) -> str:
    """The commands, worst first, since GitHub shows only the first of each level; then the summary."""
    found = [(finding, file.path) for file in report.files for finding in file.findings]
    found.sort(key=lambda pair: -pair[0].severity)
    commands = [_command(finding, path) for finding, path in found]
    return "\n".join((*commands, *_covered(report), *summary(report), *_hidden(report), ""))


def _command(finding: Finding, path: str) -> str:
    text = line(finding.message)
    if finding.fix is not None:
        text += f"\nFix: {line(finding.fix)}"
    place = f"file={line(path).translate(_PROPERTY)},title={line(finding.rule).translate(_PROPERTY)}"
    return f"::{_COMMANDS[finding.severity]} {place}::{text.translate(_DATA)}"


def _covered(report: Report) -> Iterator[str]:
    for file in report.files:
        if file.coverage is not None:
            yield f"Coverage: {line(file.path)} {coverage(file.coverage)}"


def _hidden(report: Report) -> Iterator[str]:
    counts = {name: report.count(severity) for severity, name in _COMMANDS.items()}
    many = [f"{grouped(count)} at level {name}" for name, count in counts.items() if count > _SHOWN]
    if many:
        yield f"GitHub shows {_SHOWN} annotations of a level and step, of {', '.join(many)}: see the log."
