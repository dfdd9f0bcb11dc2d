"""One versioned JSON document for programs: all that a report holds, strings exactly as they are.

It is plain ASCII, so a name with control characters or lone surrogates stands there as its escapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptaudit.audit import Coverage, FileReport, Finding, Report, Rule, Severity
from ckptaudit.model import Span
from ckptaudit.reports.check.entries import entries
from ckptaudit.reports.jsontext import dumps

SCHEMA = "ckptaudit.check/1"


def render(report: Report) -> str:
    """The document, a file a line."""
    groups = {rule.name: rule.group for rule in (*report.rules, *report.left_out)}
    files = ",\n".join(dumps(_file(file, groups)) for file in report.files)
    fields = {
        "schema": dumps(SCHEMA),
        "files": f"[\n{files}\n]" if files else "[]",
        "summary": dumps(_summary(report)),
        "rules": dumps(_names(report.rules)),
        "left_out": dumps(_names(report.left_out)),
        "exit_code": dumps(report.exit_code),
        "seconds": dumps(report.seconds),
    }
    rows = ",\n".join(f'"{name}": {field}' for name, field in fields.items())
    return f"{{\n{rows}\n}}\n"


def _names(rules: Iterable[Rule]) -> list[str]:
    return [rule.name for rule in rules]


def _summary(report: Report) -> dict[str, object]:
    return {
        "files": len(report.files),
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "notes": report.count(Severity.NOTE),
        "not_audited": len(report.not_audited),
        "accepted": sum(len(file.accepted) for file in report.files),
    }


def _file(file: FileReport, groups: Mapping[str, str]) -> dict[str, object]:
    told = [entry for entry in entries(file) if not entry.accepted]
    return {
        "path": file.path,
        "format": file.format,
        "audited": file.audited,
        "findings": [_finding(entry.finding, entry.fingerprint, groups) for entry in told],
        "skipped": file.skipped,
        "accepted": len(file.accepted),
        "picked": file.picked,
        "coverage": _coverage(file.coverage),
        "weights_only": {
            "accepted": file.weights_only,
            "to_allow": file.to_allow,
            "refusals": file.refusals,
        },
    }


def _finding(finding: Finding, fingerprint: str, groups: Mapping[str, str]) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "group": groups.get(finding.rule),
        "severity": str(finding.severity),
        "message": finding.message,
        "keys": finding.keys,
        "span": _span(finding.span),
        "data": finding.data,
        "fix": finding.fix,
        "fingerprint": fingerprint,
    }


def _span(span: Span | None) -> dict[str, object] | None:
    return None if span is None else {"file": span.file, "start": span.start, "nbytes": span.nbytes}


def _coverage(found: Coverage | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "reference": found.reference,
        "tensors": found.tensors,
        "of_tensors": found.of_tensors,
        "parameters": found.parameters,
        "of_parameters": found.of_parameters,
        "bytes": found.nbytes,
        "of_bytes": found.of_nbytes,
    }
