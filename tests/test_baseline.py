from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ckptaudit import rules
from ckptaudit.audit import FileReport, Finding, Report, Severity
from ckptaudit.baseline import BaselineError, accept, load, update
from ckptaudit.config import Options
from ckptaudit.gate import Request, UsageError, check, perform
from ckptaudit.output import OutputError, write
from tests.handmade import MLP, write_safetensors

ODD = ("a\nb", "\x1b[31m", "\ud800", 'q"')


def finding(message: str = "3 keys", *keys: str, rule: str = "missing-keys", level: int = 3) -> Finding:
    return Finding(rule, Severity(level), message, keys)


def report(*findings: Finding, path: str = "x.pt", identity: str = "") -> FileReport:
    return FileReport(path, None, True, findings, identity=identity)


def written(path: Path, *files: FileReport, ran: tuple[str, ...] = rules.RULES) -> str:
    """The text of the baseline once it was updated with what was found in `files`."""
    update(str(path), Report(files, tuple(map(rules.find, ran))))
    return path.read_text()


def accepted_by(then: FileReport, seen: FileReport, folder: Path) -> list[bool]:
    path = folder / "b.json"
    written(path, then)
    found = accept(seen, load(str(path)))
    return [any(each is known for known in found.accepted) for each in seen.findings]


@pytest.mark.parametrize(
    ("then", "now", "known"),
    [
        (report(finding()), report(finding()), [True]),
        (report(finding("3 keys")), report(finding("4 keys")), [True]),
        (report(finding("3 keys", "a")), report(finding("other words", "a")), [True]),
        (report(finding("3 keys", "a")), report(finding("3 keys", "b")), [False]),
        (report(finding("3 keys", "a")), report(finding("3 keys", "a", "b")), [False]),
        (report(finding(rule="x")), report(finding(rule="y")), [False]),
        (report(finding(level=2)), report(finding(level=3)), [False]),
        (report(finding()), report(finding(), path="y.pt"), [False]),
        (
            report(finding(), identity="w/x.pt"),
            report(finding(), path="/far/w/x.pt", identity="w/x.pt"),
            [True],
        ),
        # One more of what is accepted is new.
        (report(finding()), report(finding(), finding()), [True, False]),
        (report(finding("x", *ODD)), report(finding("x", *ODD)), [True]),
    ],
)
def test_what_is_known(tmp_path: Path, then: FileReport, now: FileReport, known: list[bool]) -> None:
    assert accepted_by(then, now, tmp_path) == known


def test_made_for_a_diff(tmp_path: Path) -> None:
    files = [report(finding("b"), finding("a", rule="absent-tie"), path=path) for path in ("z.pt", "a.pt")]
    text = written(tmp_path / "b.json", *files)
    assert text == written(tmp_path / "b.json", *reversed(files))
    rows = json.loads(text)["findings"]
    assert [(row["path"], row["rule"]) for row in rows] == [
        (path, rule) for path in ("a.pt", "z.pt") for rule in ("absent-tie", "missing-keys")
    ]
    assert len(text.splitlines()) == len(rows) + 5
    assert text.isascii()
    none = json.loads(written(tmp_path / "none.json"))
    assert none == {"schema": "ckptaudit.baseline/1", "findings": []}


def test_what_was_not_audited_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    written(path, report(finding("a")), report(finding("b"), path="y.pt"))
    written(path, report(finding("c", rule="absent-tie")), ran=("absent-tie",))
    written(path, report(path="y.pt"))
    rows = json.loads(path.read_text())["findings"]
    assert [(row["path"], row["rule"], row["message"]) for row in rows] == [
        ("x.pt", "absent-tie", "c"),
        ("x.pt", "missing-keys", "a"),
    ]


def test_what_is_no_baseline_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("weights")
    with pytest.raises(BaselineError, match="no JSON"):
        written(path, report(finding("a")))
    assert path.read_text() == "weights"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("\udcff", "no JSON"),
        ("[]", "no baseline"),
        ("{}", "no baseline"),
        ('{"schema": "ckptaudit.baseline/2", "findings": []}', "no baseline"),
        ('{"schema": "ckptaudit.baseline/1", "findings": {}}', "no baseline"),
        ('{"schema": "ckptaudit.baseline/1", "findings": [{"fingerprint": []}]}', "without a fingerprint"),
        ('{"schema": "ckptaudit.baseline/1", "findings": [3]}', "without a fingerprint"),
    ],
)
def test_a_broken_baseline_is_wrong_usage(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BaselineError, match=f"{reason}.*--update-baseline"):
        load(str(path))
    with pytest.raises(BaselineError, match="No such file"):
        load(str(tmp_path / "gone.json"))


def test_writing(tmp_path: Path) -> None:
    path, link = tmp_path / "b.json", tmp_path / "link.json"
    link.symlink_to(path)
    write(str(link), "one")
    assert (path.read_text(), link.is_symlink()) == ("one", True)
    for place in (tmp_path, tmp_path / "gone" / "b.json"):
        with pytest.raises(OutputError, match="could not be written"):
            write(str(place), "two")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b.json", "link.json"]


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no such device")
def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    write(str(link), "text")
    assert not os.path.isfile("/dev/null")


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w").mkdir()
    write_safetensors(tmp_path / "ref.safetensors", MLP)
    write_safetensors(tmp_path / "w/x.safetensors", {"more": (1,), **MLP})
    return tmp_path


def audit(path: str, *, update: bool = False, against: str = "ref.safetensors") -> tuple[int, int, int]:
    """Exit code, findings, and accepted findings; the baseline lies beside the reference."""
    baseline = os.path.relpath(Path(against).parent / "b.json")
    options = Options(("keys",), against=against)
    found = perform(Request((path,), options, baseline=baseline, update_baseline=update))
    return found.exit_code, len(found.files[0].findings), len(found.files[0].accepted)


def test_round_trip(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaselineError, match="No such file"):
        audit("w/x.safetensors")
    assert audit("w/x.safetensors", update=True) == (0, 0, 1)
    assert audit("w/x.safetensors") == (0, 0, 1)
    assert audit(str(two / "w/x.safetensors")) == (0, 0, 1)
    assert audit("w/../w/x.safetensors") == (0, 0, 1)
    # What is new fails, and what is gone is no trouble.
    write_safetensors(two / "w/x.safetensors", {"other": (1,), **MLP})
    assert audit("w/x.safetensors") == (1, 1, 0)
    write_safetensors(two / "w/x.safetensors", MLP)
    assert audit("w/x.safetensors") == (0, 0, 0)


def test_the_same_from_another_folder(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit("w/x.safetensors", update=True)
    monkeypatch.chdir(two / "w")
    assert audit("x.safetensors", against="../ref.safetensors") == (0, 0, 1)


def test_without_a_file_to_write() -> None:
    with pytest.raises(UsageError, match="--baseline FILE"):
        perform(Request(("x",), update_baseline=True))


def test_what_could_not_be_audited_stays_so(tmp_path: Path) -> None:
    path, baseline = str(tmp_path / "gone.pt"), str(tmp_path / "b.json")
    assert perform(Request((path,), baseline=baseline, update_baseline=True)).exit_code == 3
    assert check(path, baseline=baseline).exit_code == 3
