"""Checkpoints as tests: pytest itself runs them, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckptaudit.errors import CkptAuditError
from ckptaudit.pytest_plugin import Auditor

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
CLEAN, WARNED, ABSENT = "mlp.params", "devices_mixed.pt", "lfs_pointer.pt"
AMBIGUOUS = "closure_network.pt"  # two state dicts that could each be the model
PAYLOAD = b"cos\nsystem\n(S'true'\ntR."
HOSTILE = "::error::\x1b[31m\u202e##[error]x[1].pt"
COPIES = {"good.pt": CLEAN, "warned.pt": WARNED, "absent.pt": ABSENT}


@pytest.fixture(autouse=True)
def quick(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """hypothesis, which these runs have no use for, would be imported anew at the end of each."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    """A project with checkpoints in `weights`, one of them bad, and one test."""
    weights = pytester.mkdir("weights")
    for name, source in COPIES.items():
        shutil.copy(FIXTURES / source, weights / name)
    pytester.makepyfile(test_one="def test_one(): pass")
    return pytester.path


def outcomes(result: pytest.RunResult) -> dict[str, int]:
    """What happened, by word; how many were deselected is left out."""
    found = result.parseoutcomes()
    return {word: found[word] for word in ("passed", "failed", "error", "errors") if word in found}


def test_import_loads_nothing_more() -> None:
    code = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import ckptaudit.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert told.stdout.split() == ["ckptaudit", "ckptaudit.pytest_plugin"]


def test_a_run_that_does_not_ask_loads_nothing_more(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    ours = {name for name in sys.modules if name.split('.')[0] == 'ckptaudit'}\n"
        "    assert ours == {'ckptaudit', 'ckptaudit.pytest_plugin'}\n"
    )
    assert outcomes(pytester.runpytest_subprocess()) == {"passed": 1}


def test_each_checkpoint_is_an_item(folder: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("-v", "--ckptaudit", "weights/*.pt")
    assert (result.ret, outcomes(result)) == (1, {"passed": 3, "failed": 1})
    result.stdout.fnmatch_lines_random(
        [
            "weights/good.pt::ckptaudit PASSED*",
            "weights/warned.pt::ckptaudit PASSED*",
            "weights/absent.pt::ckptaudit FAILED*",
            "test_one.py::test_one PASSED*",
        ]
    )


def test_failure_is_the_report_without_a_traceback(folder: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--ckptaudit", "weights/absent.pt")
    text = result.stdout.str()
    assert "\nerror    not-fetched  weights/absent.pt  git-LFS pointer to 33,927 bytes" in text
    assert "1 file not audited: weights/absent.pt." in text
    assert "FAILED weights/absent.pt::ckptaudit - Failed: error    not-fetched" in text
    assert "Traceback" not in text
    assert ".py:" not in text


def test_it_works_without_other_tests_and_with_warnings_as_errors(pytester: pytest.Pytester) -> None:
    shutil.copy(FIXTURES / CLEAN, pytester.path / "m.params")
    result = pytester.runpytest("-W", "error", "--strict-markers", "--ckptaudit", "*.params")
    assert (result.ret, outcomes(result)) == (0, {"passed": 1})


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        # Collected below a folder, outside of the folders, or both ways at once: always once.
        (("weights", "--ckptaudit", "weights/good.pt"), ["weights/good.pt::ckptaudit"]),
        (
            ("test_one.py", "--ckptaudit", "weights/good.pt"),
            ["test_one.py::test_one", "weights/good.pt::ckptaudit"],
        ),
        (
            (".", "--ckptaudit", "weights/g*", "--ckptaudit", "weights/good.pt"),
            ["test_one.py::test_one", "weights/good.pt::ckptaudit"],
        ),
        (("--ckptaudit", "weights", "-k", "good"), ["weights/good.pt::ckptaudit"]),
        (
            (".", "--ckptaudit", "weights/*d.pt", "--deselect", "weights/warned.pt::ckptaudit"),
            ["test_one.py::test_one", "weights/good.pt::ckptaudit"],
        ),
        # Asked for by its node id: that one alone, with and without the option.
        (("weights/good.pt::ckptaudit",), ["weights/good.pt::ckptaudit"]),
        (("weights/good.pt::ckptaudit", "--ckptaudit", "weights/*"), ["weights/good.pt::ckptaudit"]),
    ],
)
def test_collected_once(
    folder: Path, pytester: pytest.Pytester, arguments: tuple[str, ...], ids: list[str]
) -> None:
    result = pytester.runpytest("--collect-only", "-q", *arguments)
    assert result.ret == 0
    assert sorted(line for line in result.outlines if "::" in line) == ids


def test_the_count_of_items_is_right(folder: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("test_one.py", "--ckptaudit", "weights", "-k", "good or one")
    result.stdout.fnmatch_lines(["collected 4 items / 2 deselected / 2 selected"])


def test_node_id_that_is_no_file_is_wrong_usage(folder: Path, pytester: pytest.Pytester) -> None:
    assert pytester.runpytest("weights/none.pt::ckptaudit").ret == pytest.ExitCode.USAGE_ERROR


def test_last_failed_runs_what_failed(folder: Path, pytester: pytest.Pytester) -> None:
    pytester.runpytest("--ckptaudit", "weights")
    result = pytester.runpytest("-v", "--lf", "--ckptaudit", "weights")
    assert outcomes(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["weights/absent.pt::ckptaudit FAILED*"])


def test_from_a_subfolder(folder: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]")
    monkeypatch.chdir(pytester.mkdir("below"))
    result = pytester.runpytest("--collect-only", "-q", "--ckptaudit", "../weights/good.pt")
    assert [line for line in result.outlines if "::" in line] == ["weights/good.pt::ckptaudit"]
    assert pytester.runpytest("../weights/good.pt::ckptaudit").ret == 0


def test_a_file_outside_the_root_folder(
    folder: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.mkdir("root") / "pytest.ini").write_text("[pytest]")
    monkeypatch.chdir(folder / "root")
    result = pytester.runpytest("-v", "--ckptaudit", "../weights/good.pt")
    result.stdout.fnmatch_lines(["../weights/good.pt::ckptaudit PASSED*"])


def test_an_index_stands_for_its_shards(pytester: pytest.Pytester) -> None:
    shutil.copytree(FIXTURES / "sharded_safetensors", pytester.path / "all")
    shutil.copy(FIXTURES / "mlp.safetensors", pytester.path / "all" / "other-of-all.safetensors")
    ids = ["all/model.safetensors.index.json::ckptaudit", "all/other-of-all.safetensors::ckptaudit"]
    for pattern in ("all", "all/*", "**/*"):
        result = pytester.runpytest("--collect-only", "-q", "--ckptaudit", pattern)
        assert [line for line in result.outlines if "::" in line] == ids
    alone = pytester.runpytest("--collect-only", "-q", "--ckptaudit", "all/model-*.safetensors")
    assert len([line for line in alone.outlines if "::" in line]) == 2


@pytest.mark.parametrize("pattern", ["weights/*.ckpt", "nowhere", "empty"])
def test_a_glob_that_matches_nothing_is_wrong_usage(
    folder: Path, pytester: pytest.Pytester, pattern: str
) -> None:
    pytester.mkdir("empty")
    result = pytester.runpytest("--ckptaudit", pattern)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ckptaudit *{pattern}: no checkpoint there"])


def test_setting_counts_where_no_path_is_given(
    folder: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\ntestpaths = test_one.py\nckptaudit =\n    weights/g*\n    weights/w*")
    assert outcomes(pytester.runpytest()) == {"passed": 3}
    assert outcomes(pytester.runpytest("test_one.py")) == {"passed": 1}
    assert outcomes(pytester.runpytest("weights")) == {"passed": 2}
    monkeypatch.chdir(folder / "weights")
    assert outcomes(pytester.runpytest()) == {"passed": 2}


def test_setting_that_matches_nothing_is_wrong_usage(folder: Path, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nckptaudit = nowhere/*.pt")
    assert pytester.runpytest().ret == pytest.ExitCode.USAGE_ERROR
    assert pytester.runpytest("test_one.py").ret == 0


def test_settings_of_the_project_apply(folder: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(
        "[tool.ckptaudit]\nfail-on = 'warning'\n"
        "[tool.ckptaudit.per-path.'weights/good*']\nagainst = 'weights/warned.pt'"
    )
    result = pytester.runpytest("weights", "--ckptaudit", "weights/[gw]*")
    assert outcomes(result) == {"failed": 2}
    result.stdout.fnmatch_lines(["error    missing-keys  weights?good.pt *warned.pt expects*"])
    result.stdout.fnmatch_lines(["warning  device-mismatch  weights?warned.pt *"])


def test_baseline_of_the_project_is_kept(folder: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool.ckptaudit]\nfail-on = 'warning'\nbaseline = 'accepted.json'")
    command = [sys.executable, "-m", "ckptaudit", "check", "--update-baseline", "weights/warned.pt"]
    assert pytester.run(*command).ret == 0
    assert pytester.runpytest("weights", "--ckptaudit", "weights/warned.pt").ret == 0


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("fail-on = 3", pytest.ExitCode.USAGE_ERROR),
        ("baseline = 'none.json'", pytest.ExitCode.TESTS_FAILED),
        ("select = ['no-such-rule']", pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_settings_that_make_no_sense(
    folder: Path, pytester: pytest.Pytester, settings: str, code: pytest.ExitCode
) -> None:
    pytester.makepyprojecttoml(f"[tool.ckptaudit]\n{settings}")
    result = pytester.runpytest("--ckptaudit", "weights/good.pt")
    assert result.ret == code
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert pytester.runpytest().ret == 0


def test_keys_that_were_not_compared_are_no_pass(pytester: pytest.Pytester) -> None:
    for name in (CLEAN, AMBIGUOUS):
        shutil.copy(FIXTURES / name, pytester.path)
    pytester.makepyprojecttoml(f"[tool.ckptaudit]\nagainst = '{CLEAN}'")
    result = pytester.runpytest("--ckptaudit", AMBIGUOUS)
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*not-compared*{AMBIGUOUS}*head, layers could each be the model*"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
@pytest.mark.parametrize("verbosity", ["-q", "-v", "-vv"])
def test_a_hostile_name_reaches_no_terminal_and_no_log(pytester: pytest.Pytester, verbosity: str) -> None:
    (pytester.path / HOSTILE).write_bytes(PAYLOAD)
    (pytester.path / "odd").mkdir()
    (pytester.path / "odd" / HOSTILE).write_bytes(PAYLOAD)
    result = pytester.runpytest(verbosity, "-rA", "--ckptaudit", ".")
    assert outcomes(result) == {"failed": 2}
    text = result.stdout.str() + result.stderr.str()
    assert "error\\x3a\\x3a\\x1b[31m" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "##[" not in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]
    assert "dangerous-global" in text
    listed = pytester.runpytest("--collect-only", "-q", "--ckptaudit", ".")
    assert "\x1b" not in listed.stdout.str()


def test_names_that_pytest_would_take_apart(pytester: pytest.Pytester) -> None:
    odd = pytester.mkdir("we[i]rd")
    for name in ("a[1].pt", "b c.pt"):
        shutil.copy(FIXTURES / CLEAN, odd / name)
    result = pytester.runpytest("--ckptaudit", "we[[]i]rd/*", "--ckptaudit", "we[i]rd/a[1].pt")
    assert (result.ret, outcomes(result)) == (0, {"passed": 2})


def test_it_can_be_turned_off(folder: Path, pytester: pytest.Pytester) -> None:
    assert outcomes(pytester.runpytest("-p", "no:ckptaudit")) == {"passed": 1}
    assert pytester.runpytest("-p", "no:ckptaudit", "--ckptaudit", "weights").ret != 0


FIXTURE_TESTS = """
    from pathlib import Path

    def test_clean(ckptaudit):
        assert ckptaudit.clean(Path("weights/good.pt")).exit_code == 0

    def test_unclean(ckptaudit):
        ckptaudit.clean("weights/warned.pt")

    def test_matches(ckptaudit):
        ckptaudit.matches("weights/good.pt", Path("weights/good.pt"))

    def test_differs(ckptaudit):
        ckptaudit.matches("weights/warned.pt", "weights/good.pt")
"""


def test_fixture(folder: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_fixture=FIXTURE_TESTS)
    result = pytester.runpytest("-v", "-W", "error", "test_fixture.py")
    assert (result.ret, outcomes(result)) == (1, {"passed": 2, "failed": 2})
    result.stdout.fnmatch_lines(
        [
            "*test_clean PASSED*",
            "*test_unclean FAILED*",
            "*test_matches PASSED*",
            "*test_differs FAILED*",
            "*_ test_unclean _*",
            "warning  device-mismatch  weights/warned.pt *",
            "*_ test_differs _*",
            "error    missing-keys  weights/warned.pt *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "test_fixture.py:1" not in result.stdout.str()
    # What is not about keys is not what the last test asks.
    assert len([line for line in result.outlines if line.startswith("warning  device-mismatch")]) == 1


def failure(call: str, *paths: str, **options: object) -> str:
    """What a call of the fixture tells when it fails."""
    with pytest.raises(pytest.fail.Exception) as failed:
        getattr(Auditor(), call)(*(FIXTURES / path for path in paths), **options)
    return str(failed.value)


def test_clean_is_what_is_asked_for() -> None:
    found = Auditor().clean(FIXTURES / WARNED, fail_on="error")
    assert [finding.rule for file in found.files for finding in file.findings] == ["device-mismatch"]
    assert Auditor().clean(FIXTURES / WARNED, ignore=["device-mismatch"]).exit_code == 0
    assert "device-mismatch" in failure("clean", WARNED)
    assert "not-fetched" in failure("clean", ABSENT, fail_on="error", select=["integrity"])


def test_silence_is_no_pass() -> None:
    with pytest.raises(CkptAuditError, match="no rule is left"):
        Auditor().clean(CLEAN, select=["values"])
    assert "nothing was compared" in failure("matches", CLEAN, CLEAN, select=["trust"])
    assert "nothing was compared" in failure("matches", CLEAN, CLEAN, ignore=["keys"])
    assert "each be the model" in failure("matches", AMBIGUOUS, CLEAN)
    assert "each be the model" in failure("clean", AMBIGUOUS, against=FIXTURES / CLEAN)
    assert "not-fetched" in failure("matches", ABSENT, CLEAN)
    assert "not-compared" in failure("matches", CLEAN, ABSENT)
    assert "unreadable-file" in failure("clean", "nowhere.pt")


def test_matches_is_about_keys_alone() -> None:
    report = Auditor().matches(FIXTURES / "full_model_mlp.pt", FIXTURES / CLEAN)
    assert "needs-code" in {finding.rule for file in report.files for finding in file.findings}
    assert "missing-keys" in failure("matches", "mlp_out.pt", CLEAN)
    mapped = Auditor().matches(FIXTURES / "mlp_out.pt", FIXTURES / CLEAN, map=["out=output"])
    assert mapped.exit_code == 0


def test_check_judges_nothing() -> None:
    report = Auditor().check(FIXTURES / ABSENT, str(FIXTURES / CLEAN), against=FIXTURES / CLEAN)
    assert (len(report.files), report.exit_code) == (2, 3)
