"""Baselines: findings of today that are accepted, so that only new ones fail.

A file of JSON, one finding a line, sorted: `{"schema": "ckptaudit.baseline/1", "findings": [{"fingerprint",
"rule", "path", "message"}]}`. Only the fingerprint counts; the rest tells a reviewer what it stands for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from ckptaudit.audit import FileReport, Finding, Report, Severity
from ckptaudit.errors import CkptAuditError
from ckptaudit.output import write
from ckptaudit.rules import load as load_rules

SCHEMA = "ckptaudit.baseline/1"
_REMEDY = "write it again: --update-baseline"


class BaselineError(CkptAuditError):
    """The baseline cannot be read: wrong usage, not a bad checkpoint."""


def load(path: str) -> frozenset[str]:
    """The fingerprints that are accepted. Raises BaselineError where `path` is no baseline."""
    return frozenset(row["fingerprint"] for row in _rows(path))


def _rows(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            document: Any = json.load(file)
    except OSError as error:
        raise BaselineError(path, error.strerror or str(error), remedy=_REMEDY) from None
    except (ValueError, RecursionError) as error:
        raise BaselineError(path, f"no JSON: {error}", remedy=_REMEDY) from None
    rows = document.get("findings") if isinstance(document, dict) else None
    if not isinstance(rows, list) or document.get("schema") != SCHEMA:
        raise BaselineError(path, f"no baseline of schema {SCHEMA!r}", remedy=_REMEDY)
    if not all(isinstance(row, dict) and isinstance(row.get("fingerprint"), str) for row in rows):
        raise BaselineError(path, "a finding without a fingerprint", remedy=_REMEDY)
    return rows


def is_acceptable(finding: Finding) -> bool:
    """Whether a baseline may let a finding pass.

    No error of the group trust: another payload could come under the names of one that was accepted.
    """
    return finding.severity < Severity.ERROR or finding.rule not in _about_trust()


@cache
def _about_trust() -> frozenset[str]:
    return frozenset(rule.name for rule in load_rules() if rule.group == "trust")


def accept(report: FileReport, accepted: frozenset[str]) -> FileReport:
    """The report with the findings that are accepted set apart."""
    if not accepted or not report.findings:
        return report
    marks = zip(report.findings, report.fingerprints(report.findings), strict=True)
    known = [mark in accepted and is_acceptable(finding) for finding, mark in marks]
    pairs = list(zip(report.findings, known, strict=True))
    return replace(
        report,
        findings=tuple(finding for finding, is_known in pairs if not is_known),
        accepted=tuple(finding for finding, is_known in pairs if is_known),
    )


def update(path: str, report: Report) -> frozenset[str]:
    """Accept the findings of `report` in the file at `path`; the fingerprints of those accepted.

    What stands there of files that were not audited now, and of rules that were not run, stays.
    Raises BaselineError where there is something else than a baseline, OutputError where none can be written.
    """
    audited = {file.identity or file.path for file in report.files}
    ran = {rule.name for rule in report.rules}
    is_there = os.path.isfile(path) and os.path.getsize(path)
    kept = [
        row
        for row in (_rows(path) if is_there else ())
        if row.get("path") not in audited or row.get("rule") not in ran
    ]
    made = list(_made(report.files))
    write(path, _text([*kept, *made]))
    return frozenset(row["fingerprint"] for row in made)


def _made(reports: Iterable[FileReport]) -> Iterator[dict[str, Any]]:
    for report in reports:
        for finding, mark in zip(report.findings, report.fingerprints(report.findings), strict=True):
            if not is_acceptable(finding):
                continue
            row = {"rule": finding.rule, "path": report.identity or report.path, "message": finding.message}
            yield {"fingerprint": mark, **row}


def _text(rows: list[dict[str, Any]]) -> str:
    rows.sort(key=lambda row: (str(row.get("path")), str(row.get("rule")), row["fingerprint"]))
    lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    listed = f"[\n{lines}\n  ]" if rows else "[]"
    return f'{{\n  "schema": "{SCHEMA}",\n  "findings": {listed}\n}}\n'
