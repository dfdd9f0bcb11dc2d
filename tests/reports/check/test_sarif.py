from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from jsonschema import Draft7Validator

from ckptaudit.audit import Finding, Report, error, note
from ckptaudit.model import Span
from ckptaudit.reports.check.sarif import render
from tests.reports.check.made import HOSTILE, SAMPLES, file, found, hostile, plain, report

SCHEMA = Path(__file__).parents[3].parent / "shared" / "sarif-schema-2.1.0.json"

# SARIF 2.1.0, section 3.11.6: the syntax of an embedded link; section 3.11.5: that of a placeholder.
LINK = re.compile(r"\[(?:[^\[\]\\]|\\[\[\]\\])*\]\([^)]*\)")
PLACEHOLDER = re.compile(r"\{[^{]")


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    if not SCHEMA.exists():
        pytest.skip(f"the schema of SARIF is not at {SCHEMA}")
    return Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def run(of: Report) -> Any:
    (only,) = json.loads(render(of))["runs"]
    return only


def location(finding: Finding, path: str = "w/a.pt") -> Any:
    (only,) = run(report(file(path, found(finding))))["results"][0]["locations"]
    return only


def messages(node: Any) -> Any:
    """Every plain text message of a log."""
    if isinstance(node, dict):
        if isinstance(node.get("text"), str):
            yield node["text"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from messages(item)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_report_is_valid(validator: Draft7Validator, name: str) -> None:
    assert [error.message for error in validator.iter_errors(json.loads(render(SAMPLES[name])))] == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("version",), "2.2.0"),
        (("runs", 0, "tool"), {}),
        (("runs", 0, "results", 0, "level"), "fatal"),
        (("runs", 0, "results", 0, "message"), {"markdown": "alone"}),
        (("runs", 0, "results", 0, "locations", 0, "physicalLocation", "region"), {"byteOffset": -2}),
        (("runs", 0, "results", 0, "extra"), 1),
        (("runs", 0, "invocations", 0), {"exitCode": 1}),
    ],
)
def test_the_validator_refuses_a_bad_log(
    validator: Draft7Validator, where: tuple[str | int, ...], value: object
) -> None:
    log = copy.deepcopy(json.loads(render(plain())))
    node = log
    for step in where[:-1]:
        node = node[step]
    node[where[-1]] = value
    assert list(validator.iter_errors(log))


@pytest.mark.parametrize("name", SAMPLES)
def test_no_text_is_a_link_or_a_placeholder(name: str) -> None:
    log = json.loads(render(SAMPLES[name]))
    for text in messages(log):
        assert not LINK.search(text)
        assert not PLACEHOLDER.search(text.replace("{{", ""))


def test_the_syntax_of_links_and_placeholders_is_known() -> None:
    assert LINK.search(r"see [para\[0\]](1)")
    assert PLACEHOLDER.search("variable {0}")


def test_results_point_to_their_rules() -> None:
    told = run(plain())
    rules = told["tool"]["driver"]["rules"]
    assert {rule["id"]: rule["name"] for rule in rules}["missing-keys"] == "MissingKeys"
    assert [rule["properties"]["tags"] for rule in rules][:2] == [["trust"], ["integrity"]]
    assert rules[0]["fullDescription"]["text"].endswith("The thing, in `x[0]`.")
    for result in told["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert [result["level"] for result in told["results"]] == ["note", "error", "warning", "note", "error"]


def test_what_the_baseline_accepted_is_suppressed() -> None:
    first, *others = run(plain())["results"]
    assert first["suppressions"][0]["kind"] == "external"
    assert not any("suppressions" in result for result in others)
    prints = [result["partialFingerprints"]["ckptaudit/v1"] for result in (first, *others)]
    assert len(set(prints)) == 5


def test_an_invocation_tells_what_did_not_run() -> None:
    (told,) = run(plain())["invocations"]
    assert (told["executionSuccessful"], told["exitCode"]) == (False, 3)
    levels = [notification["level"] for notification in told["toolExecutionNotifications"]]
    assert levels == ["error", "note", "note"]
    note = told["toolExecutionNotifications"][1]
    assert note["associatedRule"]["id"] == "odd-sum"
    assert note["message"]["text"] == "odd-sum was skipped in 1 of 3 files: use --deep"
    (told,) = run(report(file("a.pt", found(error("x")))))["invocations"]
    assert (told["executionSuccessful"], told["exitCode"]) == (True, 1)


@pytest.mark.parametrize(
    ("span", "uri", "region"),
    [
        (None, "w/a.pt", None),
        (Span("w/a.pt", 5, 7), "w/a.pt", {"byteOffset": 5, "byteLength": 7}),
        (Span("w/a.pt", -5, -1), "w/a.pt", {"byteOffset": 0, "byteLength": 0}),
        (Span("w/a.pt", 10**5000, 0), "w/a.pt", {"byteOffset": 2**63 - 1, "byteLength": 0}),
        (Span("w/a.pt!a/data.pkl", 5, 7), "w/a.pt", None),
        (Span("w/shard 1.pt", 5, 7), "w/shard%201.pt", {"byteOffset": 5, "byteLength": 7}),
        (Span("w/shard.pt!a/data.pkl", 5, 7), "w/a.pt", None),
    ],
    ids=["none", "here", "before", "far", "member", "shard", "member of a shard"],
)
def test_where_a_span_lies(span: Span | None, uri: str, region: object) -> None:
    physical = location(error("x", span=span))["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical.get("region")) == (uri, region)


@pytest.mark.parametrize(
    ("path", "uri", "base"),
    [
        ("w/a.pt", "w/a.pt", "%SRCROOT%"),
        ("./w//a b%.pt", "w/a%20b%25.pt", "%SRCROOT%"),
        ("a:b#c?d", "a%3Ab%23c%3Fd", "%SRCROOT%"),
        ("../a.pt", "../a.pt", None),
        ("/abs/a b.pt", "file:///abs/a%20b.pt", None),
        ("wéights.pt", "w%C3%A9ights.pt", "%SRCROOT%"),
        ("a\udcff.pt", "a%FF.pt", "%SRCROOT%"),
    ],
)
def test_paths_as_uris(path: str, uri: str, base: str | None) -> None:
    artifact = location(error("x"), path)["physicalLocation"]["artifactLocation"]
    assert (artifact["uri"], artifact.get("uriBaseId")) == (uri, base)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_path_is_a_path_of_a_uri(text: str) -> None:
    for artifact in run(hostile(text))["artifacts"]:
        uri = artifact["location"]["uri"]
        parts = urlsplit(uri)
        assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", parts.path)
        assert (parts.netloc, parts.query, parts.fragment) == ("", "", "")
        assert parts.scheme == ("file" if text.startswith("/") else "")
        assert unquote_to_bytes(parts.path)


def test_keys_are_members_and_no_two_alike() -> None:
    keys = ("a", "a", *(f"k{place}" for place in range(500)))
    names = location(error("x", keys))["logicalLocations"]
    assert len(names) == 99
    assert names[0] == {"fullyQualifiedName": "a", "kind": "member"}


def test_a_fix_is_in_the_markdown() -> None:
    (result,) = run(report(file("a.pt", found(note("x {y}", fix="do `it`")))))["results"]
    assert result["properties"] == {"fix": "do `it`"}
    assert result["message"]["text"] == "x {{y}}"
    assert "Fix: " in result["message"]["markdown"]


def test_every_file_is_an_artifact_once() -> None:
    told = run(report(file("a.pt"), file("./a.pt"), file("b.pt")))
    assert [artifact["location"]["uri"] for artifact in told["artifacts"]] == ["a.pt", "b.pt"]
