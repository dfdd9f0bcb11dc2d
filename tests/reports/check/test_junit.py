from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from ckptaudit.audit import Report, Severity, error, note, warning
from ckptaudit.reports.check.junit import render
from ckptaudit.reports.check.wording import line
from tests.reports.check.made import HOSTILE, SAMPLES, file, found, hostile, plain, report

# Where an element stands, in the common layout (https://github.com/testmoapp/junitxml).
INSIDE = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "property": set(),
    "testcase": {"failure", "error", "skipped", "system-out"},
    "failure": set(),
    "error": set(),
    "skipped": set(),
    "system-out": set(),
}


def tree(of: Report) -> ElementTree.Element:
    page = render(of)
    assert page.isascii()
    return ElementTree.fromstring(page)


def case(of: Report, name: str) -> ElementTree.Element:
    found = tree(of).find(f".//testcase[@name='{name}']")
    assert found is not None
    return found


@pytest.mark.parametrize("name", SAMPLES)
def test_layout_and_counts(name: str) -> None:
    root = tree(SAMPLES[name])
    assert root.tag == "testsuites"
    assert float(root.attrib["time"]) == SAMPLES[name].seconds
    for element in root.iter():
        assert {child.tag for child in element} <= INSIDE[element.tag]
    for counted in (root, *root.iter("testsuite")):
        cases = list(counted.iter("testcase"))
        outcomes = {tag: sum(each.find(tag) is not None for each in cases) for tag in INSIDE["testcase"]}
        assert [int(counted.attrib[each]) for each in ("tests", "failures", "errors", "skipped")] == [
            len(cases),
            outcomes["failure"],
            outcomes["error"],
            outcomes["skipped"],
        ]
        assert all(len(list(each.iter("failure"))) <= 1 for each in cases)
    assert len(root) == len(SAMPLES[name].files)


def test_a_file() -> None:
    suite = tree(plain())[0]
    assert suite.attrib == {"name": "w/a.pt", "tests": "3", "failures": "1", "errors": "0", "skipped": "0"}
    told = case(plain(), "missing-keys")
    assert told.attrib["classname"] == "w/a.pt"
    failure, output = told
    assert failure.attrib == {"message": "2 keys are not in the file: out.weight, out.bias", "type": "error"}
    assert failure.text == "error: 2 keys are not in the file: out.weight, out.bias\nfix: --map 'output=out'"
    assert output.text == "warning: odd"


@pytest.mark.parametrize(
    ("fail_on", "failures"), [(Severity.ERROR, 1), (Severity.WARNING, 2), (Severity.NOTE, 3)]
)
def test_what_fails_is_what_was_asked_to(fail_on: Severity, failures: int) -> None:
    findings = (found(error("x"), "a"), found(warning("x"), "b"), found(note("x"), "c"))
    assert tree(report(file("a", *findings), fail_on=fail_on)).attrib["failures"] == str(failures)


def test_a_file_that_was_not_audited_is_an_error() -> None:
    (inside,) = case(report(file("a", audited=False)), "audited")
    assert inside.tag == "error"
    assert list(case(report(file("a")), "audited")) == []


def test_a_rule_that_was_skipped_says_why() -> None:
    (inside,) = case(report(file("a", skipped={"odd-sum": "use --deep"})), "odd-sum")
    assert (inside.tag, inside.attrib) == ("skipped", {"message": "use --deep"})


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_texts_come_back(text: str) -> None:
    root = tree(hostile(text))
    assert root[0].attrib["name"] == line(text)
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == line(f"the key {text} is missing")
    skipped = root.find(".//skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == line(text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_reference_to_what_is_no_character(text: str) -> None:
    for number in re.findall(r"&#(\d+);", render(hostile(text))):
        # XML 1.0, section 2.2.
        assert 0x20 <= int(number) <= 0xD7FF or 0xE000 <= int(number) <= 0xFFFD or int(number) > 0xFFFF
