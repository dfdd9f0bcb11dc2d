from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from ckptaudit.cli import group
from tests.diagram.drawn import needs_graphviz, nodes, parsed
from tests.handmade import write_safetensors

FIXTURES = Path(__file__).parents[2] / "fixtures"
PARAMS = str(FIXTURES / "mlp.params")


def call(*args: str) -> Result:
    return CliRunner().invoke(group, ["graph", *args])


def test_dot_to_stdout() -> None:
    result = call(PARAMS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("digraph checkpoint {\n")


@needs_graphviz
@pytest.mark.parametrize(("suffix", "head"), [("svg", b"<?xml"), ("PNG", b"\x89PNG")])
def test_pictures(tmp_path: Path, suffix: str, head: bytes) -> None:
    out = tmp_path / f"x.{suffix}"
    result = call(PARAMS, "-o", str(out))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("drawn by ")
    assert out.read_bytes().startswith(head)
    assert [file.name for file in tmp_path.iterdir()] == [out.name]


def test_graph_for_other_programs(tmp_path: Path) -> None:
    told = json.loads(call(str(FIXTURES / "shared.pt"), "--format", "json").stdout)
    assert told["schema"] == "ckptaudit.graph/1"
    kinds = [node["kind"] for node in told["nodes"]]
    assert (kinds.count("tensor"), kinds.count("storage"), len(told["ties"])) == (8, 6, 2)
    ids = {node["id"] for node in told["nodes"]}
    assert len(ids) == len(told["nodes"])
    assert {end for edge in told["edges"] for end in (edge["source"], edge["target"])} <= ids
    out = tmp_path / "x.graphml"
    assert call(str(FIXTURES / "full_model_shared.pt"), "-o", str(out)).exit_code == 0
    assert ElementTree.parse(out).getroot().tag.endswith("graphml")


@needs_graphviz
def test_options(tmp_path: Path) -> None:
    keys = {f"a{number}.b.weight": (number + 1, 2) for number in range(60)}
    path = str(write_safetensors(tmp_path / "x.safetensors", keys))
    result = call(path)
    assert "only counted: 31 modules" in result.stderr
    assert len(nodes(parsed(result.stdout))) == 30
    assert len(nodes(parsed(call(path, "--max-nodes", "5").stdout))) == 5
    opened = call(path, "--expand", "a0", "--rankdir", "LR", "--color", "size", "--link", "#")
    assert 'tooltip="a0.b"' in opened.stdout
    assert "URL=" in opened.stdout
    assert "closed" in call(str(FIXTURES / "tiny_gpt.pt"), "--depth", "1").stderr


def test_findings_are_drawn() -> None:
    path = str(FIXTURES / "devices_mixed.pt")
    assert "1 warning" in call(path).stdout
    assert "warning" not in call(path, "--no-findings").stdout


def test_against() -> None:
    result = call(str(FIXTURES / "mlp_out.pt"), "--against", PARAMS)
    assert result.exit_code == 0
    assert result.stdout.count('STYLE="DASHED"') == 1
    assert "renamed? (likely, 2 keys)" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["gone.pt"], 3, "No such file"),
        ([f"{PARAMS}::gone"], 3, "no state dicts are called 'gone'"),
        ([PARAMS, "-o", "gone/x.dot"], 3, "could not be written"),
        ([PARAMS, "--against", "gone.pt"], 3, "No such file"),
        ([PARAMS, "--limit", "nothing=1"], 2, "no limit"),
        ([PARAMS, "-o", "x.gif"], 2, "what is 'x.gif' to be"),
        ([PARAMS, "-o", PARAMS, "--format", "dot"], 3, "would be overwritten"),
        ([PARAMS, "--max-nodes", "1"], 2, "max-nodes"),
        ([], 2, "Missing argument"),
    ],
)
def test_errors_are_one_line(args: list[str], code: int, says: str) -> None:
    result = call(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1


def test_what_could_not_be_read_is_told() -> None:
    result = call(PARAMS, "--limit", "members=1")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: {PARAMS}: not read completely: ")
    assert "part of the file could not be read" in result.stdout


def test_no_big_library_is_loaded() -> None:
    code = "import sys\nfrom ckptaudit.cli import run\nrun()\nprint(*sorted(sys.modules), file=sys.stderr)\n"
    command = [sys.executable, "-c", code, "graph", str(FIXTURES / "train_ckpt.pt")]
    child = subprocess.run(command, capture_output=True, cwd=FIXTURES.parent, timeout=60, text=True)
    loaded = set(child.stderr.split())
    assert "ckptaudit.diagram.dot" in loaded
    assert not loaded & {"torch", "numpy", "networkx", "rich", "safetensors", "pickle"}
