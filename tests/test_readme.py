"""What the README shows is what the commands print, and what it tells to install is all there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"```(sh|python)\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def _output(language: str, code: str) -> str:
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
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8")


@pytest.mark.parametrize(("language", "code", "text"), SHOWN.findall(README), ids=lambda part: part[:40])
def test_output_shown_is_the_output(language: str, code: str, text: str) -> None:
    assert _output(language, code) == text


def test_every_command_but_the_tests_shows_its_output() -> None:
    assert len(SHOWN.findall(README)) == len(BLOCK.findall(README)) == 4


def test_two_commands_set_it_up() -> None:
    lines = [line for block in BLOCK.findall(README) for line in block.splitlines()]
    setups = [line for line in lines if "pip install" in line]
    assert setups == ["pip install . && ckptaudit inspect fixtures/mlp.params", "pip install tox && tox"]


def test_options_are_those_of_the_command() -> None:
    shown = set(re.findall(r"`(--[a-z]+)", README)) - {"--help"}
    told = set(re.findall(r"^ +(--[a-z]+)", _output("sh", "ckptaudit inspect --help"), re.MULTILINE))
    assert shown == told
