"""The GitHub action: its table is read as GitHub reads it, and its script run as GitHub runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with pre-commit")

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
BASH = shutil.which("bash")
PAYLOAD = b"cos\nsystem\n(S'true'\ntR."

needs_bash = pytest.mark.skipif(
    BASH is None or sys.platform == "win32", reason="no bash that takes paths as Python writes them"
)


@dataclass(frozen=True, slots=True)
class Done:
    """What is there after a step: its log, exit code, outputs and summary."""

    code: int
    log: str
    errors: str
    outputs: dict[str, str]
    summary: str


def step(name: str) -> dict[str, Any]:
    """The step with this id."""
    return next(each for each in STEPS if each.get("id") == name)


def environment(name: str, inputs: dict[str, str], command: str) -> dict[str, str]:
    """What the step's own table makes of the inputs; those that are not given have their defaults."""
    known = {f"inputs.{key}": inputs.get(key, each["default"]) for key, each in ACTION["inputs"].items()}
    known["steps.install.outputs.command || 'ckptaudit'"] = command
    known["inputs.install || github.action_path"] = inputs.get("install") or str(ROOT)
    table: dict[str, str] = step(name)["env"]
    return {key: EXPRESSION.sub(lambda found: known[found[1]], value) for key, value in table.items()}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository's folder; what the runner has is beside it."""
    (tmp_path / "runner").mkdir()
    (tmp_path / "repo").mkdir()
    return tmp_path / "repo"


@pytest.fixture
def command(tmp_path: Path) -> str:
    """The command that would have been installed."""
    file = tmp_path / "ckptaudit"
    file.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ckptaudit "$@"\n')
    file.chmod(0o755)
    return str(file)


def run(name: str, workspace: Path, command: str, **inputs: str) -> Done:
    """Run the script of a step; an input's name is written with an underscore."""
    given = {key.replace("_", "-"): value for key, value in inputs.items()}
    runner = workspace.parent / "runner"
    script, outputs, summary = (runner / file for file in ("step.sh", "outputs", "summary"))
    script.write_text(step(name)["run"], encoding="utf-8")
    outputs.touch()
    summary.touch()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(runner),
        "RUNNER_TEMP": str(runner),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(summary),
        **environment(name, given, command),
    }
    # As for `shell: bash`: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
    done = subprocess.run(
        [BASH or "bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=workspace,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    lines = outputs.read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines)
    return Done(done.returncode, done.stdout, done.stderr, told, summary.read_text(encoding="utf-8"))


def test_nothing_is_pasted_into_a_script() -> None:
    scripts = [each["run"] for each in STEPS if "run" in each]
    assert len(scripts) == 2
    assert not [text for text in scripts if "${{" in text]


def test_steps_are_what_a_composite_action_needs() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert all("uses" in each or each["shell"] == "bash" for each in STEPS)
    assert all(each["description"] and "default" in each for each in ACTION["inputs"].values())


def test_every_input_is_used_and_every_output_is_made() -> None:
    text = json.dumps(STEPS)
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(ACTION["inputs"])
    made = set(re.findall(r"printf '([a-z-]+)=", step("check")["run"]))
    assert {each["value"] for each in ACTION["outputs"].values()} == {
        f"${{{{ steps.check.outputs.{name} }}}}" for name in made
    }
    assert set(ACTION["outputs"]) == made


@needs_bash
def test_clean(workspace: Path, command: str) -> None:
    shutil.copy(FIXTURES / "mlp.params", workspace)
    done = run("check", workspace, command, paths="mlp.params")
    assert (done.code, done.errors) == (0, "")
    assert done.outputs == {"exit-code": "0", "sarif-file": "ckptaudit.sarif"}
    assert "passed, no findings in 1 file" in done.summary
    report = json.loads((workspace / "ckptaudit.sarif").read_text(encoding="utf-8"))
    assert report["version"] == "2.1.0"
    assert report["runs"][0]["results"] == []
    assert sorted(file.name for file in workspace.parent.joinpath("runner").iterdir()) == [
        "outputs",
        "step.sh",
        "summary",
    ]


@needs_bash
@pytest.mark.parametrize(
    ("name", "code", "rule"), [("payload.pkl", 1, "dangerous-global"), ("pointer.pt", 3, "not-fetched")]
)
def test_bad(workspace: Path, command: str, name: str, code: int, rule: str) -> None:
    (workspace / "payload.pkl").write_bytes(PAYLOAD)
    shutil.copy(FIXTURES / "lfs_pointer.pt", workspace / "pointer.pt")
    done = run("check", workspace, command, paths=name, sarif_file="out put/report.sarif")
    assert done.code == code
    assert f"::error file={name},title={rule}::" in done.log
    assert done.outputs == {"exit-code": str(code), "sarif-file": "out put/report.sarif"}
    assert rule in done.summary
    report = json.loads((workspace / "out put" / "report.sarif").read_text(encoding="utf-8"))
    assert rule in {result["ruleId"] for result in report["runs"][0]["results"]}


@needs_bash
def test_paths_with_spaces_and_globs(workspace: Path, command: str) -> None:
    (workspace / "my weights").mkdir()
    for name in ("a b.pt", "c.pt"):
        shutil.copy(FIXTURES / "mlp.params", workspace / "my weights" / name)
    shutil.copy(FIXTURES / "mlp.params", workspace / "two  spaces.pt")
    done = run("check", workspace, command, paths="\nmy weights/*.pt\ntwo  spaces.pt\n")
    assert (done.code, done.errors) == (0, "")
    assert "0 errors, 0 warnings, 0 notes in 3 files" in done.log


@needs_bash
def test_options(workspace: Path, command: str) -> None:
    for name in ("mlp.params", "devices_mixed.pt"):
        shutil.copy(FIXTURES / name, workspace)
    strict = {"paths": "devices_mixed.pt", "fail_on": "warning"}
    assert run("check", workspace, command, **strict).code == 1
    assert run("check", workspace, command, **strict, args="--ignore\ndevice-mismatch").code == 0
    assert run("check", workspace, command, paths="devices_mixed.pt", against="mlp.params").code == 1
    assert run("check", workspace, command, paths="mlp.params", against="mlp.params").code == 0


@needs_bash
def test_paths_of_the_settings(workspace: Path, command: str) -> None:
    shutil.copy(FIXTURES / "lfs_pointer.pt", workspace / "pointer.pt")
    (workspace / "pyproject.toml").write_text("[tool.ckptaudit]\npaths = ['*.pt']\n")
    assert run("check", workspace, command).code == 3


@needs_bash
def test_wrong_usage_leaves_no_report(workspace: Path, command: str) -> None:
    done = run("check", workspace, command)
    assert (done.code, done.outputs, done.summary) == (2, {"exit-code": "2"}, "")
    assert "no PATH to audit" in done.errors


@needs_bash
def test_no_sarif(workspace: Path, command: str) -> None:
    shutil.copy(FIXTURES / "mlp.params", workspace)
    done = run("check", workspace, command, paths="mlp.params", sarif_file="")
    assert done.outputs == {"exit-code": "0"}
    assert [file.name for file in workspace.iterdir()] == ["mlp.params"]


HOSTILE = (
    "$(touch pwned).pt",
    "`touch pwned`.pt",
    "a'; touch pwned; '.pt",
    'b"; touch pwned; ".pt',
    "--config=evil.pt",
    "-rf.pt",
    "::error::pwned.pt",
    "${IFS}touch${IFS}pwned.pt",
)


@needs_bash
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_does_no_harm(workspace: Path, command: str, name: str) -> None:
    (workspace / name).write_bytes(PAYLOAD)
    for paths in (name, "*.pt"):
        done = run("check", workspace, command, paths=paths)
        assert done.code == 1
        assert "title=dangerous-global::" in done.log
        assert "1 error" in done.log
        assert "::error::pwned" not in done.log
        assert {file.name for file in workspace.iterdir()} == {name, "ckptaudit.sarif"}


@needs_bash
@pytest.mark.parametrize("field", ["paths", "against", "fail_on", "args", "sarif_file"])
def test_a_hostile_input_does_no_harm(workspace: Path, command: str, field: str) -> None:
    shutil.copy(FIXTURES / "mlp.params", workspace)
    told = {"paths": "mlp.params", field: "$(touch pwned)`touch pwned`\"'; touch pwned\nexit-code=0"}
    done = run("check", workspace, command, **told)
    assert "pwned" not in {file.name for file in workspace.iterdir()}
    assert done.outputs["exit-code"] == str(done.code)
    assert done.code == {"sarif_file": 0, "fail_on": 2}.get(field, 3)


def wheel(folder: Path) -> Path:
    """A package with a command `ckptaudit`, which pip installs without an index."""
    info = "stand_in-1.0.dist-info"
    members = {
        "stand_in.py": "def main():\n    print('installed')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: stand-in\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nckptaudit = stand_in:main\n",
        f"{info}/RECORD": "",
    }
    file = folder / "stand_in-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file


@needs_bash
@pytest.mark.skipif(find_spec("ensurepip") is None, reason="this Python cannot put pip into an environment")
@pytest.mark.plain
def test_install(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pip.py", "venv.py"):  # what `python -m` would take from the folder that it is called in
        (workspace / name).write_text("open('pwned', 'w')")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = run("install", workspace, "", install=str(wheel(workspace.parent)))
    assert done.code == 0, done.errors
    assert subprocess.check_output([done.outputs["command"]], text=True, timeout=60) == "installed\n"
    assert {file.name for file in workspace.iterdir()} == {"pip.py", "venv.py"}
