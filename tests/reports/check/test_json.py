from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from ckptaudit.audit import Report, error, note
from ckptaudit.reports.check.json import render
from tests.reports.check.made import HOSTILE, SAMPLES, file, found, hostile, many, plain, report

TEXT: Any = {"type": "string"}
COUNT: Any = {"type": "integer", "minimum": 0}
NUMBER: Any = {"type": ["integer", "string"]}
MAYBE_TEXT: Any = {"type": ["string", "null"]}


def rows(items: Any) -> Any:
    return {"type": "array", "items": items}


def record(**fields: Any) -> Any:
    """An object with these fields, all of them and no others."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def maybe(schema: Any) -> Any:
    return {"oneOf": [{"type": "null"}, schema]}


SCHEMA = record(
    schema={"const": "ckptaudit.check/1"},
    files=rows(
        record(
            path=TEXT,
            format=MAYBE_TEXT,
            audited={"type": "boolean"},
            findings=rows(
                record(
                    rule=TEXT,
                    group={"enum": ["trust", "integrity", "structure", "keys", "values"]},
                    severity={"enum": ["note", "warning", "error"]},
                    message=TEXT,
                    keys=rows(TEXT),
                    # A hostile file can say that something lies before its start, or past 64 bits.
                    span=maybe(record(file=TEXT, start=NUMBER, nbytes=NUMBER)),
                    data={"type": "object"},
                    fix=MAYBE_TEXT,
                    fingerprint={"type": "string", "pattern": "^[0-9a-f]{32}$"},
                )
            ),
            skipped={"type": "object", "additionalProperties": TEXT},
            accepted=COUNT,
            picked=MAYBE_TEXT,
            coverage=maybe(
                record(
                    reference=TEXT,
                    tensors=COUNT,
                    of_tensors=COUNT,
                    parameters=COUNT,
                    of_parameters=COUNT,
                    bytes=COUNT,
                    of_bytes=COUNT,
                )
            ),
            weights_only=record(
                accepted={"type": ["boolean", "null"]}, to_allow=rows(TEXT), refusals=rows(TEXT)
            ),
        )
    ),
    summary=record(
        files=COUNT, errors=COUNT, warnings=COUNT, notes=COUNT, not_audited=COUNT, accepted=COUNT
    ),
    rules=rows(TEXT),
    left_out=rows(TEXT),
    exit_code={"enum": [0, 1, 3]},
    seconds={"type": "number", "minimum": 0},
)  # fmt: skip


def refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON (RFC 8259)")


def told(of: Report) -> Any:
    page = render(of)
    assert page.isascii()
    document = json.loads(page, parse_constant=refuse)
    Draft202012Validator(SCHEMA).validate(document)
    assert list(document) == list(SCHEMA["properties"])
    return document


@pytest.mark.parametrize("name", SAMPLES)
def test_every_report_keeps_to_the_schema(name: str) -> None:
    document = told(SAMPLES[name])
    assert len(document["files"]) == len(SAMPLES[name].files)


def test_the_schema_refuses_what_it_should() -> None:
    document = told(plain())
    for broken in ({**document, "more": 1}, {**document, "exit_code": 2}, {**document, "files": [{}]}):
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate(broken)


def test_a_finding() -> None:
    document = told(plain())
    first = document["files"][0]["findings"][0]
    assert first.pop("fingerprint") == plain().files[0].findings[0].fingerprint("w/a.pt")
    assert first == {
        "rule": "missing-keys",
        "group": "keys",
        "severity": "error",
        "message": "2 keys are not in the file: out.weight, out.bias",
        "keys": ["out.weight", "out.bias"],
        "span": {"file": "w/a.pt", "start": 5, "nbytes": 7},
        "data": {},
        "fix": "--map 'output=out'",
    }
    assert document["summary"] == {
        "files": 3,
        "errors": 2,
        "warnings": 1,
        "notes": 1,
        "not_audited": 1,
        "accepted": 1,
    }
    assert document["exit_code"] == 3


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_strings_come_back_as_they_were(text: str) -> None:
    first = told(hostile(text))["files"][0]
    assert (first["path"], first["picked"], first["coverage"]["reference"]) == (text, text, text)
    assert first["skipped"]["odd-sum"] == text
    assert first["findings"][0]["fix"] == text
    assert first["findings"][0]["keys"][0] == text
    assert first["findings"][0]["data"] == {
        **{text: text, "details": [text]},
        "number": "nan",
        "large": hex(10**5000),
    }


@given(st.text(st.characters(codec=None)))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    (only,) = told(report(file(text, found(error(text, (text,))))))["files"]
    assert (only["path"], only["findings"][0]["message"], only["findings"][0]["keys"]) == (text, text, [text])


def test_deep_data_ends_somewhere() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert told(report(file("a", found(note("x", data={"deep": deep, 1: {2}})))))["files"]


def test_fingerprints_tell_findings_that_read_alike_apart() -> None:
    alike = found(note("x"))
    both = told(report(file("a", alike, alike)))["files"][0]["findings"]
    assert both[0]["fingerprint"] != both[1]["fingerprint"]
    # With the first one accepted, the second one is still the second.
    (second,) = told(report(file("a", alike, accepted=(alike,))))["files"][0]["findings"]
    assert second == both[1]


def test_a_large_report_has_every_finding() -> None:
    document = told(many(1000, 3))
    assert sum(len(each["findings"]) for each in document["files"]) == 3000


def test_exit_codes() -> None:
    clean, failed = file(), file("b", found(error("x")))
    codes = [
        told(report(*files))["exit_code"]
        for files in ((clean,), (clean, failed), (replace(clean, audited=False), failed))
    ]
    assert codes == [0, 1, 3]
