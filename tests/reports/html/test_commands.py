"""`--format html` on the command line: where it goes, and what is said where it cannot be made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ckptaudit.cli import group
from tests.handmade import MLP, write_safetensors
from tests.reports.html.reading import Page, assert_inert, rows

pytest.importorskip("jinja2", reason="the page is made with jinja2")

ROOT = Path(__file__).parents[3]
PARAMS, OUT = (str(ROOT / "fixtures" / name) for name in ("mlp.params", "mlp_out.pt"))
pytestmark = pytest.mark.usefixtures("drawing")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*args: str) -> Result:
    return CliRunner().invoke(group, args)


def page_in(path: Path) -> Page:
    return assert_inert(path.read_text("ascii"))


def test_inspect_writes_a_page(elsewhere: Path) -> None:
    result = call("inspect", PARAMS, "--format", "html", "-o", "x.html")
    assert (result.exit_code, result.output) == (0, "")
    page = page_in(elsewhere / "x.html")
    assert page.all("h1")[0].whole() == PARAMS
    assert call("inspect", PARAMS, "--format", "html").stdout == (elsewhere / "x.html").read_text("ascii")


def test_inspect_takes_its_other_options(elsewhere: Path) -> None:
    args = ("--include", "hidden.*", "--sort", "size", "--depth", "1")
    assert call("inspect", PARAMS, "--format", "html", *args, "-o", "x.html").exit_code == 0
    (data,) = page_in(elsewhere / "x.html").trees
    assert [row["name"] for row in rows(data)] == ["hidden", "weight", "bias"]
    assert (data["order"], data["depth"]) == ("size", 1)


@pytest.mark.parametrize("form", ["text", "json", "csv", "markdown"])
def test_output_of_the_other_formats(elsewhere: Path, form: str) -> None:
    result = call("inspect", PARAMS, "--format", form, "--output", "out")
    assert (result.exit_code, result.output) == (0, "")
    assert (elsewhere / "out").read_text("utf-8") == call("inspect", PARAMS, "--format", form).stdout


def test_inspect_of_what_cannot_be_read(elsewhere: Path) -> None:
    (elsewhere / "bad.pt").write_bytes(b"\xff" * 40)
    result = call("inspect", "bad.pt", "--format", "html", "-o", "x.html")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
    assert "nothing could be read" in page_in(elsewhere / "x.html").of_class("verdict")[0].text
    assert call("inspect", "bad.pt", "--format", "json", "-o", "x.json").exit_code == 3
    assert json.loads((elsewhere / "x.json").read_text())["problems"]


def test_nothing_is_written_over_a_checkpoint(elsewhere: Path) -> None:
    file = write_safetensors(elsewhere / "a.safetensors", MLP)
    before = file.read_bytes()
    for args in (
        ("inspect", "a.safetensors", "-o", "./a.safetensors"),
        ("inspect", "a.safetensors::x", "--format", "html", "-o", "a.safetensors"),
        ("inspect", "a.safetensors", PARAMS, "-o", "x"),
        ("check", "a.safetensors", "--format", "html", "-o", "a.safetensors"),
    ):
        assert call(*args).exit_code == 2
    assert file.read_bytes() == before


def test_a_folder_that_is_not_there(elsewhere: Path) -> None:
    for command in ("inspect", "check"):
        result = call(command, PARAMS, "--format", "html", "-o", "gone/x.html")
        assert result.exit_code == 3
        assert "gone/x.html: could not be written" in result.stderr


def test_check_writes_a_page_with_trees(elsewhere: Path) -> None:
    result = call("check", PARAMS, OUT, "--against", PARAMS, "--format", "html", "-o", "x.html")
    assert result.exit_code == 1
    assert "2 errors" in result.stdout  # a person still gets the text
    page = page_in(elsewhere / "x.html")
    assert len(page.trees) == 2
    again = call("check", PARAMS, OUT, "--against", PARAMS, "--format", "html=y.html", "--format", "json")
    assert (elsewhere / "y.html").read_bytes() == (elsewhere / "x.html").read_bytes()
    assert json.loads(again.stdout)["summary"]["files"] == 2


def test_check_of_what_is_gone_when_it_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str, limits: object) -> None:
        raise OSError(path)

    monkeypatch.setattr("ckptaudit.cli.check.read_at", gone)
    result = call("check", PARAMS, "--format", "html")
    assert result.exit_code == 0
    assert assert_inert(result.stdout).trees == []


def test_output_without_a_format_that_has_no_file() -> None:
    for args in (("-o", "x"), ("-o", "x", "--format", "html=y.html")):
        result = call("check", PARAMS, *args)
        assert result.exit_code == 2
        assert "add --format FORMAT" in result.stderr


@pytest.mark.parametrize("command", ["inspect", "check"])
def test_without_jinja2(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = call(command, PARAMS, "--format", "html", "-o", "x.html")
    assert (result.exit_code, result.stdout) == (3, "")
    told = "error: --format html: jinja2 is not installed; pip install 'ckptaudit[report]'\n"
    assert result.stderr == told
    assert not Path("x.html").exists()


@pytest.mark.parametrize("args", ["inspect --format json", "check", "check --format markdown"])
def test_jinja2_is_loaded_for_a_page_alone(args: str) -> None:
    code = (
        "import sys\nfrom ckptaudit.cli import run\nrun()\n"
        "sys.exit(any(name in sys.modules for name in ('jinja2', 'markupsafe', 'ckptaudit.diagram')))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, *args.split(), PARAMS], capture_output=True, cwd=ROOT, timeout=60
    )
    assert child.returncode == 0, child.stderr
