from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ckptaudit.cli import group
from ckptaudit.cli import run as run_here
from ckptaudit.reports.check import FORMATS
from tests.handmade import MLP, write_safetensors

ROOT = Path(__file__).parents[2]
OUT, PARAMS = (str(ROOT / "fixtures" / name) for name in ("mlp_out.pt", "mlp.params"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to be called in: the project's own settings are not meant."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*args: str) -> Result:
    return CliRunner().invoke(group, ["check", *args])


def run(*args: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ckptaudit", "check", *args]
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more.pop("env", {})}
    return subprocess.run(command, capture_output=True, timeout=60, env=env, **more)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ([PARAMS], 0),
        ([PARAMS, "--against", PARAMS], 0),
        ([OUT, "--against", PARAMS], 1),
        ([OUT, "--against", PARAMS, "--map", "out=output"], 0),
        ([OUT, "--against", PARAMS, "--ignore", "missing-keys,unexpected-keys"], 0),
        ([OUT, "--against", PARAMS, "--select", "trust", "--select", "structure", "--fail-on", "warning"], 0),
        ([OUT, "--against", PARAMS, "--ignore", "missing-keys, unexpected-keys", "--fail-on", "note"], 1),
        (["gone.pt"], 3),
        (["gone.pt", OUT, "--against", PARAMS], 3),
        ([OUT, "--against", "gone.json"], 3),
        ([PARAMS, "--limit", "members=1"], 3),
        ([], 2),
        (["--nothing", PARAMS], 2),
        ([PARAMS, "--select", "nothing"], 2),
        ([PARAMS, "--fail-on", "fatal"], 2),
        ([PARAMS, "--map", "a"], 2),
        ([PARAMS, "--map", "a=b"], 2),
        ([PARAMS, "--format", "yaml"], 2),
        ([PARAMS, "--format", "json="], 2),
        ([PARAMS, "--limit", "memory=1"], 2),
        ([PARAMS, "--limit", "members=-1"], 2),
        ([PARAMS, "--timeout", "0"], 2),
        ([PARAMS, "--config", "gone.toml"], 2),
        ([PARAMS, "--baseline", "gone.json"], 2),
        ([PARAMS, "--update-baseline"], 2),
    ],
)
def test_exit_codes(args: list[str], code: int) -> None:
    result = check(*args)
    assert result.exit_code == code, result.output
    assert bool(result.stderr) == (code == 2)
    assert "Traceback" not in result.output


def test_exit_codes_leave_the_process() -> None:
    assert run(PARAMS).returncode == 0
    assert run(OUT, "--against", PARAMS).returncode == 1
    usage = run("--select", "kyes", PARAMS)
    assert (usage.returncode, usage.stdout, usage.stderr.count(b"\n")) == (2, b"", 1)
    assert b"did you mean keys" in usage.stderr
    assert run("gone.pt").returncode == 3


def test_several_files_one_of_them_broken(elsewhere: Path) -> None:
    write_safetensors(elsewhere / "good.safetensors", MLP)
    (elsewhere / "bad.safetensors").write_bytes(b"\xff" * 40)
    result = check(".", "gone.pt", "--format", "json")
    told = {Path(file["path"]).name: file["audited"] for file in json.loads(result.stdout)["files"]}
    assert told == {"bad.safetensors": False, "good.safetensors": True, "gone.pt": False}
    assert result.exit_code == 3


def test_every_format_to_a_file_of_its_own(elsewhere: Path) -> None:
    files = [f"--format={name}=out.{name}" for name in FORMATS]
    result = check(OUT, "--against", PARAMS, *files)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "2 errors" in result.stdout  # a person still gets the text
    for name in FORMATS:
        alone = check(OUT, "--against", PARAMS, "--format", name).stdout
        assert (elsewhere / f"out.{name}").read_text("utf-8").splitlines()[0] == alone.splitlines()[0]
    assert len(json.loads((elsewhere / "out.sarif").read_text())["runs"]) == 1


def test_baseline_round_trip(elsewhere: Path) -> None:
    args = (OUT, "--against", PARAMS, "--baseline", "accepted.json")
    assert check(*args).exit_code == 2
    assert check(*args, "--update-baseline").exit_code == 0
    first = (elsewhere / "accepted.json").read_text()
    assert check(*args).exit_code == 0
    assert check(*args, "--update-baseline").exit_code == 0
    assert (elsewhere / "accepted.json").read_text() == first
    mapped = check(*args, "--map", "out=wrong")
    assert mapped.exit_code == 1


def test_settings_of_the_project(elsewhere: Path) -> None:
    (elsewhere / "pyproject.toml").write_text(
        f"[tool.ckptaudit]\nagainst = {json.dumps(PARAMS)}\n"
        '[tool.ckptaudit.per-path."w/*"]\nselect = ["trust"]\n'
    )
    (elsewhere / "w").mkdir()
    for name in ("x.safetensors", "w/x.safetensors"):
        write_safetensors(elsewhere / name, {"a": (1,)})
    assert check("x.safetensors").exit_code == 1
    assert check("w").exit_code == 0
    assert check("x.safetensors", "--no-config").exit_code == 0
    assert check("x.safetensors", "--select", "trust").exit_code == 0
    (elsewhere / "pyproject.toml").write_text("[tool.ckptaudit]\nselct = 3\n")
    assert check("x.safetensors").exit_code == 2
    assert "unknown setting 'selct'" in check("x.safetensors").stderr


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ckptaudit.pipeline.read_at", interrupted)
    monkeypatch.setattr(sys, "argv", ["ckptaudit", "check", PARAMS])
    assert run_here() == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_early_changes_no_verdict(elsewhere: Path) -> None:
    for number in range(40):
        write_safetensors(elsewhere / f"{number}{'n' * 200}.safetensors", {"x" * 900: (1,)})
    command = [sys.executable, "-m", "ckptaudit", "check", ".", "--against", PARAMS, "--format", "json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=60) == 1


@pytest.mark.parametrize("place", ["gone/out.json", "."])
def test_output_that_cannot_be_written(place: str) -> None:
    result = run(PARAMS, "--format", f"json={place}")
    assert result.returncode == 3
    assert result.stderr.startswith(b"error: ")
    assert f"{place}: could not be written".encode() in result.stderr
    assert result.stderr.count(b"\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "ckptaudit", "check", PARAMS]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, env=env)
    assert child.returncode == 3
    assert b"could not be written: No space left" in child.stderr


def test_colour_only_for_a_terminal() -> None:
    assert b"\x1b" not in run(OUT, "--against", PARAMS).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colour_unless_it_does_not_want_it(env: dict[str, str], coloured: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ckptaudit", "check", OUT, "--against", PARAMS]
    more = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **env}
    child = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=more)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert child.wait(timeout=60) == 1
    assert b"missing-keys" in shown
    assert (b"\x1b[" in shown) is coloured


def test_names_from_files_are_harmless(elsewhere: Path) -> None:
    write_safetensors(elsewhere / "x.safetensors", {"\x1b[31m\n::error::": (1,)})
    result = check("x.safetensors", "--against", PARAMS)
    assert "\x1b" not in result.output
    assert "\n::error::" not in result.output


def test_a_stream_without_box_characters() -> None:
    child = run(OUT, "--against", PARAMS, env={"PYTHONIOENCODING": "ascii"})
    assert (child.returncode, child.stderr) == (1, b"")
    assert child.stdout.isascii()


def test_streams_that_are_closed_or_full_are_no_traceback() -> None:
    shell = f"{sys.executable} -m ckptaudit check {PARAMS} "
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for closing, code in (("2>&-", 0), (">&-", 0), (">/dev/full", 3)):
        done = subprocess.run(["sh", "-c", shell + closing], capture_output=True, timeout=60, env=env)
        assert done.returncode == code, closing
        assert b"Traceback" not in done.stderr + done.stdout


def test_no_report_is_written_over_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(Path(PARAMS).read_bytes())
    assert run(str(path), "--format", f"json={path}").returncode == 2
    assert path.read_bytes() == Path(PARAMS).read_bytes()


def test_one_format_on_stdout_and_every_file_that_can_be_written(tmp_path: Path) -> None:
    assert run(PARAMS, "--format", "json", "--format", "text").returncode == 2
    good = tmp_path / "good.json"
    done = run(PARAMS, "--format", f"json={tmp_path}/gone/x", "--format", f"json={good}")
    assert done.returncode == 3
    assert json.loads(good.read_text())["exit_code"] == 0
    assert b"1 file" in done.stdout


def test_what_is_selected_is_not_ignored_by_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text('[tool.ckptaudit]\nignore = ["tied-weights"]\nlimits = {tensors = 1}\n')
    asked = ["--config", str(config), "--select", "tied-weights", "--limit", "tensors=150000"]
    done = run(str(ROOT / "fixtures" / "shared.pt"), *asked)
    assert b"tied-weights" in done.stdout
    assert done.returncode == 0
