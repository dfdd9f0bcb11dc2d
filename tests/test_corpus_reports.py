"""All hostile, broken and scary files in one call: none keeps another from being audited or reported."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ckptaudit.audit import Report
from ckptaudit.gate import check
from ckptaudit.reports.check import FORMATS, render
from tests.hostile.corpus import CASES

SCHEMA = Path(__file__).parents[2] / "shared" / "sarif-schema-2.1.0.json"
SMALL = [case for case in CASES if case.kind != "exhaustion"]
COMMENT = 65_536  # characters of a comment on GitHub


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("corpus")
    paths = []
    for number, case in enumerate(SMALL):
        place = folder / str(number)
        place.mkdir()
        paths.append(str(case.build(place)))
    return check(*paths, fail_on="note", deep=True)


def test_every_file_has_its_report(report: Report) -> None:
    assert len(report.files) == len(SMALL)
    failed = [
        file.path for file in report.files for finding in file.findings if finding.rule == "internal-error"
    ]
    assert failed == []
    silent = [file.path for file in report.files if not file.audited and not file.findings]
    assert silent == []
    assert report.exit_code == 3


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_lets_a_control_character_through(report: Report, name: str) -> None:
    page = render(name, report)
    page.encode()
    assert [char for char in page if not char.isprintable() and char != "\n"] == []


def test_machine_readable_formats_can_be_read(report: Report) -> None:
    document = json.loads(render("json", report))
    assert [file["path"] for file in document["files"]] == [file.path for file in report.files]
    assert len(json.loads(render("gitlab", report))) == sum(len(file.findings) for file in report.files)
    assert len(ElementTree.fromstring(render("junit", report)).findall("testsuite")) == len(report.files)
    assert len(render("markdown", report)) < COMMENT


def test_sarif_is_valid(report: Report) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    if not SCHEMA.exists():
        pytest.skip("the OASIS schema is not beside the project")
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(json.loads(render("sarif", report)))] == []
