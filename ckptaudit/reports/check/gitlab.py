"""GitLab's Code Quality report, for the widget of a merge request.

Its fields are told at https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format: a
fingerprint must be unique, a path relative without `./`, and a place has a line, which a checkpoint has not.
"""

from __future__ import annotations

from ckptaudit.audit import Report, Severity
from ckptaudit.reports.check.entries import Entry, entries
from ckptaudit.reports.check.wording import line
from ckptaudit.reports.jsontext import dumps

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.NOTE: "info"}


def render(report: Report) -> str:
    """The array, a finding a line; those that the baseline accepted are not in it."""
    rows = ",\n".join(
        dumps(_row(entry, file.path))
        for file in report.files
        for entry in entries(file)
        if not entry.accepted
    )
    return f"[\n{rows}\n]\n" if rows else "[]\n"


def _row(entry: Entry, path: str) -> dict[str, object]:
    finding = entry.finding
    fix = "" if finding.fix is None else f" Fix: {line(finding.fix)}"
    return {
        "description": f"{line(finding.message)}{fix}",
        "check_name": line(finding.rule),
        "fingerprint": entry.fingerprint,
        "severity": _SEVERITIES[finding.severity],
        "location": {"path": line(path).removeprefix("./"), "lines": {"begin": 1}},
    }
