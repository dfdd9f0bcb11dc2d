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
SECONDS = re.compile(r"\(\d+\.\d\d s\)")
# The commands whose options are listed, by the heading above their table.
OPTIONS = {"inspect": "## What it shows", "check": "## The gate"}


def _output(language: str, code: str, expected: int = 0) -> str:
    """What a block prints: a Python block as it is, the `ckptaudit` command at the end of a shell block."""
    if language == "sh":
        *_, command = code.strip().rpartition("ckptaudit ")
        arguments = ["-m", "ckptaudit", *command.split()]
    else:
        arguments = ["-c", code]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "PATH": ""}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, env=environment, timeout=60
    )
    assert done.returncode == expected, done.stderr.decode()
    return SECONDS.sub("(0.01 s)", done.stdout.decode("utf-8"))


@pytest.mark.parametrize(("language", "code", "text"), SHOWN.findall(README), ids=lambda part: part[:40])
def test_output_shown_is_the_output(language: str, code: str, text: str) -> None:
    fails = text.startswith("error ")  # the gate shows its first finding first
    assert _output(language, code, int(fails)) == SECONDS.sub("(0.01 s)", text)


def test_every_command_but_the_tests_shows_its_output() -> None:
    assert len(SHOWN.findall(README)) == len(BLOCK.findall(README)) == 6


def test_two_commands_set_it_up() -> None:
    lines = [line for block in BLOCK.findall(README) for line in block.splitlines()]
    setups = [line for line in lines if "pip install" in line]
    assert setups == ["pip install . && ckptaudit inspect fixtures/mlp.params", "pip install tox && tox"]


@pytest.mark.parametrize("command", OPTIONS)
def test_options_are_those_of_the_command(command: str) -> None:
    section = README[README.index(OPTIONS[command]) :]
    table = section[section.index("| option |") :]
    shown = set(re.findall(r"`(--[a-z-]+)", table[: table.index("\n\n")]))
    told = set(re.findall(r"^ +(--[a-z-]+)", _output("sh", f"ckptaudit {command} --help"), re.MULTILINE))
    assert shown == told - {"--help"}


def test_settings_shown_are_settings(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "pyproject.toml"
    path.write_text(shown)
    config = load(str(path))
    assert config.paths == tuple(tomllib.loads(shown)["tool"]["ckptaudit"]["paths"])
    assert config.options_for(str(tmp_path / "weights" / "encoder_1.pt")).expect_device == "cpu"
