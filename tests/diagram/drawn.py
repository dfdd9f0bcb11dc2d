"""What the tests of pictures have in common: fixtures, and what Graphviz itself makes of a DOT text."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ckptaudit.diagram.dot import dot
from ckptaudit.diagram.draw import programs
from ckptaudit.diagram.picture import Options, Picture, picture
from ckptaudit.model import Checkpoint
from ckptaudit.readers import read

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
PROGRAM = next(programs(), "")
needs_graphviz = pytest.mark.skipif(not PROGRAM, reason="neither Graphviz nor graphviz-pure is installed")


@cache
def fixture(name: str) -> Checkpoint:
    """A fixture, under the same path wherever the tests run."""
    return replace(read(FIXTURES / name), path=name)


def text_of(checkpoint: Checkpoint, **options: Any) -> str:
    """The DOT text of a checkpoint."""
    return dot(picture(checkpoint, Options(**options)))


def parsed(text: str) -> dict[str, Any]:
    """What Graphviz understands of a DOT text."""
    done = subprocess.run([PROGRAM, "-Tdot_json"], input=text.encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert "rror" not in done.stderr.decode(), done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def clusters(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The clusters of a parsed text by their id."""
    return {each["id"]: each for each in told.get("objects", ()) if each["name"].startswith("cluster_")}


def nodes(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The nodes of a parsed text by their id, but for the tables below the picture."""
    foot = ("legend", "notes")
    found = [each for each in told.get("objects", ()) if not each["name"].startswith("cluster_")]
    return {each["id"]: each for each in found if each["id"] not in foot}


def names(drawn: Picture) -> list[str]:
    """The names of boxes, as they are drawn."""
    return [box.head.name for box in drawn.boxes()]
