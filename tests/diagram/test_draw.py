from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ckptaudit.diagram import draw as drawing
from ckptaudit.diagram.draw import DrawError, draw
from tests.diagram.drawn import fixture, needs_graphviz, text_of
from tests.handmade import checkpoint


def program(folder: Path, name: str, script: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    return str(file)


@needs_graphviz
def test_svg_and_png() -> None:
    text = text_of(fixture("mlp.params"))
    picture = draw(text, "svg")
    assert picture.data.startswith(b"<?xml")
    assert "graphviz" in picture.by
    assert draw(text, "png").data.startswith(b"\x89PNG")


def test_the_port_is_found_beside_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(drawing.programs())
    if not found:
        pytest.skip("graphviz-pure is not installed")
    assert draw(text_of(fixture("mlp.params"))).by.startswith("graphviz-pure")


def test_the_system_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = program(tmp_path, "dot", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert next(drawing.programs()) == mine


def test_without_graphviz_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "programs", lambda: iter(()))
    with pytest.raises(DrawError, match=r"pip install 'ckptaudit\[graph\]'"):
        draw("digraph {}")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no >&2; exit 3", "failed: no"),
        ("exit 3", "failed: exit code 3"),
        ("exit 0", "failed"),
        ("exec sleep 60", "took more than 0.3 s"),
    ],
)
def test_what_goes_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, says: str
) -> None:
    mine = program(tmp_path, "dot", script)
    monkeypatch.setattr(drawing, "programs", lambda: iter([mine]))
    with pytest.raises(DrawError, match=says):
        draw("digraph {}", seconds=0.3)


def test_what_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drawing, "programs", lambda: iter([str(tmp_path)]))
    with pytest.raises(DrawError, match="could not be started"):
        draw("digraph {}")


@needs_graphviz
@pytest.mark.parametrize("key", ["...", "../../x", "", ".a..b."])
def test_names_without_letters_are_drawn(key: str) -> None:
    assert draw(text_of(checkpoint({(): ("model", {key: (2, 3)})}))).data.startswith(b"<?xml")
