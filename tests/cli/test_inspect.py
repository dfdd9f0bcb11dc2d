from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import ckptaudit.cli
from ckptaudit.cli import COMMANDS, group
from ckptaudit.cli import run as run_here
from ckptaudit.errors import UnsupportedFormatError
from ckptaudit.model import Checkpoint, Problem
from tests.handmade import MLP, checkpoint, training, write_safetensors

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mlp(tmp_path: Path) -> str:
    return str(write_safetensors(tmp_path / "mlp.safetensors", MLP))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let `inspect` read what a test hands it: a checkpoint, or an exception to raise."""

    def hand(thing: Checkpoint | BaseException) -> None:
        def read(path: str, limits: object) -> Checkpoint:
            if isinstance(thing, BaseException):
                raise thing
            return thing

        monkeypatch.setattr("ckptaudit.locate.read", read)

    return hand


@pytest.fixture
def collecting() -> Iterator[None]:
    yield
    gc.enable()


def inspect(*args: str) -> Result:
    return CliRunner().invoke(group, ["inspect", *args])


def run(*args: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ckptaudit", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, **more)


def test_text(mlp: str) -> None:
    result = inspect(mlp)
    assert result.exit_code == 0
    assert "7,946 parameters" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_other_formats_are_alone_on_stdout(mlp: str, form: str) -> None:
    result = inspect(mlp, "--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith({"json": "{", "csv": "path,", "markdown": "| path |"}[form])
    assert result.stdout.count("hidden.weight") >= 1


def test_options_reach_the_report(mlp: str) -> None:
    told = json.loads(inspect(mlp, "--format", "json", "--include", "*.bias", "--exclude", "o*").stdout)
    assert [row["key"] for row in told["tensors"]] == ["hidden.bias"]
    table = inspect(mlp, "--format", "csv", "--sort", "size").stdout.splitlines()
    assert [row.split(",")[1] for row in table[1:3]] == ["hidden.weight", "output.weight"]
    assert "─ weight" in inspect(mlp).stdout
    assert "─ weight" not in inspect(mlp, "--depth", "1").stdout


def test_expand_unfolds(tmp_path: Path) -> None:
    path = str(write_safetensors(tmp_path / "blocks", {f"h.{block}.weight": (2, 2) for block in range(9)}))
    assert "h ×9 alike (0-8)" in inspect(path).stdout
    assert "alike" not in inspect(path, "--expand", "h.*").stdout


def test_a_state_dict_inside(reads: Any) -> None:
    reads(training())
    told = json.loads(inspect("x.pt::model_ema", "--format", "json").stdout)
    assert {row["path"][0] for row in told["tensors"]} == {"model_ema"}
    missing = inspect("x.pt::nothing")
    assert missing.exit_code == 3
    assert "model, model_ema, optimizer" in missing.stderr


def test_a_file_whose_name_has_colons_wins(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a::b", MLP)
    assert inspect(str(path)).exit_code == 0


def test_several_files(mlp: str, tmp_path: Path) -> None:
    result = inspect(mlp, str(tmp_path / "absent"), mlp)
    assert result.exit_code == 3
    assert result.stdout.count("7,946 parameters") == 2
    assert result.stderr.count("\n") == 1
    assert inspect(mlp, mlp, "--format", "json").exit_code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["--limit", "depth"],
        ["--limit", "depth=-1"],
        ["--limit", "depth=1e9"],
        ["--limit", "nothing=1"],
        ["--format", "yaml"],
        ["--sort", "dtype"],
        ["--depth", "0"],
        ["--depth", "two"],
        ["--nothing"],
    ],
)
def test_wrong_usage(mlp: str, args: list[str]) -> None:
    result = inspect(mlp, *args)
    assert result.exit_code == 2
    assert args[0] in result.stderr
    assert result.stdout == ""


def test_no_path_is_wrong_usage() -> None:
    assert inspect().exit_code == 2


def test_limits_reach_the_reader(mlp: str) -> None:
    result = inspect(mlp, "--limit", "header_bytes=10", "--limit", "depth=900")
    assert result.exit_code == 3
    assert "header_bytes" in result.stdout + result.stderr


@pytest.mark.parametrize("form", ["text", "json", "csv", "markdown"])
def test_what_cannot_be_read_is_one_line(reads: Any, form: str) -> None:
    reads(UnsupportedFormatError("evil\x1b]0;\n.pt", "a GGUF file", where="byte 0", remedy="convert it"))
    result = inspect("evil\x1b]0;\n.pt", "--format", form)
    assert result.exit_code == 3
    assert result.stderr == "error: evil\\x1b]0;\\x0a.pt: byte 0: a GGUF file; convert it\n"
    if form == "json":
        document = json.loads(result.stdout)
        assert document["format"] is None
        assert [row["code"] for row in document["problems"]] == ["unsupported-format"]
    else:
        assert result.stdout == ""


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x\ny"), RecursionError(), MemoryError(), ValueError("\ud800")]
)
def test_our_own_bugs_are_one_line(reads: Any, error: Exception) -> None:
    reads(error)
    result = inspect("x.pt", "--format", "json")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert type(error).__name__ in result.stderr
    assert json.loads(result.stdout)["problems"][0]["code"] == "internal-error"


@pytest.mark.parametrize(("incomplete", "code"), [(True, 3), (False, 0)])
def test_a_file_read_in_part_is_not_audited(reads: Any, incomplete: bool, code: int) -> None:
    reads(checkpoint({(): ("model", MLP)}, problems=(Problem("truncated", "ends early", None, incomplete),)))
    result = inspect("x.pt")
    assert result.exit_code == code
    assert "7,946 parameters" in result.stdout
    assert "truncated: ends early" in result.stdout


def test_ctrl_c_ends_quietly(
    reads: Any, collecting: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reads(KeyboardInterrupt())
    monkeypatch.setattr(sys, "argv", ["ckptaudit", "inspect", "x.pt"])
    assert run_here() == 130
    assert "Traceback" not in capsys.readouterr().err


def test_exit_codes_leave_the_process(mlp: str) -> None:
    assert run("inspect", mlp).returncode == 0
    assert run("inspect", "--nothing", mlp).returncode == 2
    absent = run("inspect", f"{mlp}.absent")
    assert (absent.returncode, absent.stdout, absent.stderr.count(b"\n")) == (3, b"", 1)


@pytest.mark.parametrize("form", ["text", "json", "csv", "markdown"])
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, form: str) -> None:
    # More than a pipe holds in any format, so that the process must meet its closed end.
    path = write_safetensors(
        tmp_path / "many", {f"{'n' * 900}{chr(97 + i % 26)}{i}x": (i,) for i in range(600)}
    )
    command = [sys.executable, "-m", "ckptaudit", "inspect", "--format", form, str(path)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=60) == 0


def test_a_stream_without_box_characters(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "mlp", {"größe.weight": (2, 2), "größe.bias": (2,)})
    for form in ("text", "csv", "markdown", "json"):
        env = {**os.environ, "PYTHONIOENCODING": "ascii"}
        child = run("inspect", str(path), "--format", form, env=env)
        assert (child.returncode, child.stderr) == (0, b"")
        assert rb"gr\xf6" in child.stdout or rb"gr\u00f6" in child.stdout
        assert child.stdout.isascii()


def test_colour_only_for_a_terminal(mlp: str) -> None:
    assert b"\x1b" not in run("inspect", mlp).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colour_unless_it_does_not_want_it(
    mlp: str, env: dict[str, str], coloured: bool
) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ckptaudit", "inspect", mlp]
    more = {**os.environ, "TERM": "xterm-256color", **env}
    child = subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs, env=more)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert child.wait(timeout=60) == 0
    assert b"7,946 parameters" in shown
    assert (b"\x1b[36m" in shown) is coloured


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from ckptaudit.cli import group\n"
        "try: group(['--help'])\n"
        "finally: assert not [m for m in sys.modules if m.startswith('ckptaudit.cli.')]"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert (child.returncode, child.stderr) == (0, b"")
    assert all(name.encode() in child.stdout for name in COMMANDS)


def test_every_command_is_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(ckptaudit.cli.__file__).parent.glob("[a-z]*.py")}
    assert files == {*COMMANDS, "options", "running"}
