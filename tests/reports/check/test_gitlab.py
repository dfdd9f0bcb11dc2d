from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from ckptaudit.audit import Report, note
from ckptaudit.reports.check.gitlab import render
from ckptaudit.reports.check.wording import line
from tests.reports.check.made import HOSTILE, SAMPLES, file, found, hostile, plain, report

# https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
SCHEMA: Any = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "lines": {
                        "type": "object",
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                        "required": ["begin"],
                    },
                },
                "required": ["path", "lines"],
            },
        },
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "additionalProperties": False,
    },
}


def told(of: Report) -> Any:
    page = render(of)
    assert page.isascii()
    return json.loads(page)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "hostile: empty"])
def test_every_report_is_one(name: str) -> None:
    rows = told(SAMPLES[name])
    Draft202012Validator(SCHEMA).validate(rows)
    assert len(rows) == sum(len(file.findings) for file in SAMPLES[name].files)
    assert len({row["fingerprint"] for row in rows}) == len(rows)


def test_the_schema_refuses_what_it_should() -> None:
    (row, *_) = told(plain())
    for broken in ({**row, "severity": "error"}, {**row, "location": {"path": "a"}}):
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate([broken])


def test_a_finding() -> None:
    row = told(plain())[0]
    assert row == {
        "description": "2 keys are not in the file: out.weight, out.bias Fix: --map 'output=out'",
        "check_name": "missing-keys",
        "fingerprint": plain().files[0].findings[0].fingerprint("w/a.pt"),
        "severity": "critical",
        "location": {"path": "w/a.pt", "lines": {"begin": 1}},
    }
    assert [row["severity"] for row in told(plain())] == ["critical", "minor", "info", "critical"]


def test_a_path_has_no_dot_before_it() -> None:
    (row,) = told(report(file("./w/a.pt", found(note("x")))))
    assert row["location"]["path"] == "w/a.pt"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_texts_are_shown_and_harmless(text: str) -> None:
    row = told(hostile(text))[0]
    assert row["location"]["path"] == line(text)
    assert row["description"] == f"{line(f'the key {text} is missing')} Fix: {line(text)}"
