from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ckptaudit.audit import GROUPS
from ckptaudit.cli import group
from ckptaudit.rules import RULES, find, load

ROOT = Path(__file__).parents[2]


def call(*args: str) -> Result:
    return CliRunner().invoke(group, list(args))


def test_every_rule_is_listed_under_its_group() -> None:
    lines = call("rules").stdout.splitlines()
    places = [lines.index(name) for name in GROUPS]
    assert places == sorted(places)
    for rule in load():
        (line,) = (line for line in lines if line.split()[:1] == [rule.name])
        assert line.endswith(rule.summary)
        above = [name for name in GROUPS if lines.index(name) < lines.index(line)]
        assert above[-1] == rule.group


def test_the_list_for_programs() -> None:
    told = json.loads(call("rules", "--format", "json").stdout)
    assert told["schema"] == "ckptaudit.rules/1"
    assert [row["rule"] for row in told["rules"]] == list(RULES)


@pytest.mark.parametrize("name", RULES)
def test_the_page_of_a_rule(name: str) -> None:
    result = call("explain", name)
    assert result.exit_code == 0
    assert result.stdout == f"{name} ({find(name).group})\n\n{find(name).page}\n"


def test_the_rules_of_a_group() -> None:
    told = call("explain", "keys").stdout.splitlines()
    assert [line.split(":")[0] for line in told] == [rule.name for rule in load() if rule.group == "keys"]


@pytest.mark.parametrize(
    ("name", "says"), [("missing-key", "did you mean missing-keys"), ("\x1b[31m", "\\x1b")]
)
def test_no_such_rule(name: str, says: str) -> None:
    result = call("explain", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("args", [["rules"], ["explain", "dtype-mismatch"]])
def test_a_stream_that_knows_ascii_alone(args: list[str]) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ckptaudit", *args]
    child = subprocess.run(command, capture_output=True, timeout=60, env=env)
    assert (child.returncode, child.stderr) == (0, b"")
    assert child.stdout.isascii()
