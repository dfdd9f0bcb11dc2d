"""What the README shows is what the commands print, and what it tells to install is all there is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ckptaudit.config import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"```(sh|python)\n([^`]*)```\n\n```text\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
# What is another on another machine.
VARIES = ((re.compile(r"\(\d+\.\d\d s\)"), "(0.01 s)"), (re.compile(r"run with  .*"), "run with  torch …"))
NEEDS_TORCH = ("rebuild", "record", "verify")
# The commands whose options are listed, by the heading above their table.
OPTIONS = {
    "inspect": "## What it shows",
    "check": "## The gate",
    "rebuild": "## Back to a model",
    "verify": "## Are the outputs equal?",
    "graph": "## Pictures",
}


def _output(language: str, code: str, expected: int = 0) -> str:
    """What a block prints: a Python block as it is, the `ckptaudit` command at the end of a shell block."""
    if language == "sh":
        *_, command = code.strip().rpartition("ckptaudit ")
        arguments = ["-m", "ckptaudit", *command.split()]
    else:
        arguments = ["-c", code]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "PATH": ""}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, env=environment, timeout=300
    )
    assert done.returncode == expected, done.stderr.decode()
    return _steady(done.stdout.decode("utf-8"))


def _steady(text: str) -> str:
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text


@pytest.mark.parametrize(("language", "code", "text"), SHOWN.findall(README), ids=lambda part: part[:40])
def test_output_shown_is_the_output(language: str, code: str, text: str) -> None:
    if re.search(rf"ckptaudit[ .]({'|'.join(NEEDS_TORCH)})", code):
        pytest.importorskip("torch", reason="the command needs it")
    # The gate shows its first finding first, and verify its verdict.
    fails = text.startswith("error ") or "  different: " in text.partition("\n")[0]
    assert _output(language, code, int(fails)) == _steady(text)


def test_every_command_but_the_tests_and_the_picture_shows_its_output() -> None:
    assert [language for language, *_ in SHOWN.findall(README)].count("sh") == len(BLOCK.findall(README)) - 2
    assert len(SHOWN.findall(README)) == 10


def test_two_commands_set_it_up() -> None:
    lines = [line for block in BLOCK.findall(README) for line in block.splitlines()]
    setups = [line for line in lines if "pip install" in line]
    assert setups == ["pip install . && ckptaudit inspect fixtures/mlp.params", "pip install tox && tox"]


@pytest.mark.parametrize("command", OPTIONS)
def test_options_are_those_of_the_command(command: str) -> None:
    section = README[README.index(OPTIONS[command]) :]
    table = section[section.index("| option |") :]
    shown = set(re.findall(r"`(--[a-z-]+)", table[: table.index("\n\n")]))
    lines = re.findall(r"^ +(-.*?)(?:  |$)", _output("sh", f"ckptaudit {command} --help"), re.MULTILINE)
    assert shown == {option for line in lines for option in re.findall(r"--[a-z-]+", line)} - {"--help"}


def test_settings_shown_are_settings(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "pyproject.toml"
    path.write_text(shown)
    config = load(str(path))
    assert config.paths == tuple(tomllib.loads(shown)["tool"]["ckptaudit"]["paths"])
    assert config.options_for(str(tmp_path / "weights" / "encoder_1.pt")).expect_device == "cpu"
