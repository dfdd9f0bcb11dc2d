from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import ckptaudit
from ckptaudit.audit import GROUPS, FileReport
from ckptaudit.config import Config, Options
from ckptaudit.errors import CkptAuditError
from ckptaudit.gate import Request, UsageError, check, check_name, perform
from ckptaudit.isolated import ChildError
from ckptaudit.rules import RULES, load
from tests.handmade import MLP, write_safetensors

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT, PARAMS = str(FIXTURES / "mlp_out.pt"), str(FIXTURES / "mlp.params")
KEYS = {rule.name for rule in load() if rule.group == "keys"}


@pytest.mark.parametrize(
    ("select", "ignore", "chosen"),
    [
        ([], [], set(RULES)),
        (["keys"], [], KEYS),
        (["missing-keys"], [], {"missing-keys"}),
        (["keys", "tied-weights"], ["absent-tie"], {*KEYS, "tied-weights"} - {"absent-tie"}),
        ([], ["keys"], set(RULES) - KEYS),
        # A rule's own name counts for more than its group's, and leaving out for more than choosing.
        (["missing-keys"], ["keys"], {"missing-keys"}),
        (["keys", "missing-keys"], ["missing-keys"], KEYS - {"missing-keys"}),
    ],
)
def test_which_rules_run(select: list[str], ignore: list[str], chosen: set[str]) -> None:
    report = check(PARAMS, select=select, ignore=ignore)
    assert {rule.name for rule in report.rules} == chosen
    assert {rule.name for rule in report.left_out} == set(RULES) - chosen
    assert set(report.files[0].skipped) <= chosen


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"select": ["missing-key"]}, "did you mean missing-keys"),
        ({"ignore": ["kyes"]}, "did you mean keys"),
        ({"select": ["xyzzy"]}, "ckptaudit rules lists them"),
        ({"select": ["keys"], "ignore": ["keys"]}, "no rule is left"),
        ({"map": ["a"], "against": PARAMS}, "'a' is not OLD=NEW"),
        ({"map": ["a=b"]}, "add --against REF"),
        ({"fail_on": "fatal"}, "note, warning or error"),
        ({"baseline": "gone.json"}, "No such file"),
    ],
)
def test_wrong_usage_comes_before_any_file_is_opened(options: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(CkptAuditError, match=reason):
        check("gone.pt", **options)


def test_nothing_to_audit() -> None:
    with pytest.raises(UsageError, match="no PATH"):
        check()


@pytest.mark.parametrize("name", [*RULES, *GROUPS])
def test_every_rule_and_group_has_its_name(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, 1),
        ({"map": ["out=output"]}, 0),
        ({"ignore": ["missing-keys", "unexpected-keys"]}, 0),
        ({"ignore": ["missing-keys", "unexpected-keys"], "fail_on": "note"}, 1),
        ({"select": ["trust"], "fail_on": "note"}, 0),
        ({"against": "gone.json"}, 3),
    ],
)
def test_exit_codes(options: Mapping[str, Any], code: int) -> None:
    assert check(OUT, **{"against": PARAMS, **options}).exit_code == code


def test_paths_may_be_path_objects_and_the_library_calls_the_same() -> None:
    assert ckptaudit.check(Path(OUT), against=Path(PARAMS)).exit_code == 1


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04 and no more")
    seen: list[FileReport] = []
    request = Request((str(tmp_path / "bad.pt"), "gone.pt", PARAMS), Options(("integrity",)))
    report = perform(request, each=seen.append)
    assert [file.audited for file in report.files] == [False, False, True]
    assert [file.path for file in seen] == list(request.paths)
    assert report.exit_code == 3


def test_an_error_of_ours_is_a_finding_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("ckptaudit.match.match", fails)
    report = check(OUT, PARAMS, against=PARAMS)
    assert [[each.rule for each in file.findings if "ours" in each.message] for file in report.files] == [
        ["internal-error"]
    ] * 2
    assert report.exit_code == 3


def test_several_models_cannot_be_compared_and_that_is_told(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="writes the file")
    path = str(tmp_path / "gan.pt")
    layers = {name: torch.nn.Linear(2, 2).state_dict() for name in ("generator", "discriminator")}
    torch.save(layers, path)
    torch.save(layers["generator"], tmp_path / "one.pt")
    one = str(tmp_path / "one.pt")
    report = check(path, against=one)
    assert report.exit_code == 3
    assert any(
        "generator, discriminator could each be the model" in each.message
        for each in report.files[0].findings
    )
    assert check(f"{path}::generator", against=one).exit_code == 0
    assert check(path).exit_code == 0


@pytest.mark.parametrize("place", ["", "w"])
def test_the_identity_of_a_file_hangs_on_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "w").mkdir()
    path = write_safetensors(tmp_path / "w" / "x.safetensors", MLP)
    monkeypatch.chdir(tmp_path / place)
    for name in (str(path), os.path.relpath(path), os.path.join(os.curdir, os.path.relpath(path))):
        report = perform(Request((name,), config=Config(folder=str(tmp_path))))
        assert report.files[0].identity == "w/x.safetensors"


def test_how_much_of_the_model_the_file_covers() -> None:
    found = check(OUT, against=PARAMS).files[0].coverage
    assert found is not None
    assert (found.tensors, found.of_tensors) == (2, 4)
    assert (found.parameters, found.of_parameters) == (256 * 20 + 256, 7946)
    assert (found.nbytes, found.of_nbytes) == (4 * found.parameters, 4 * found.of_parameters)


def test_a_tie_is_covered_once() -> None:
    found = check(str(FIXTURES / "shared.safetensors"), against=str(FIXTURES / "shared.pt")).files[0].coverage
    assert found is not None
    assert found.parameters == found.of_parameters
    assert found.tensors == found.of_tensors == 6


def test_code_in_the_settings_starts_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def ask(child: str, request: object, subject: str, seconds: float, folder: str) -> dict[str, Any]:
        started.append(folder)
        raise ChildError(subject, "no code here")

    monkeypatch.setattr("ckptaudit.blueprint.module.ask", ask)
    config = Config(folder=str(tmp_path), options=Options(against="module:net:build"))
    perform(Request((PARAMS,), config=config))
    perform(Request((PARAMS,), Options(against="module:net:build"), config))
    assert started == [str(tmp_path), ""]
