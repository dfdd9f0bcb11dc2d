from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptaudit.config import Config, ConfigError, Options, find, load, names
from ckptaudit.gate import Request, check, perform
from tests.handmade import MLP, write_safetensors

WHOLE = """
[tool.ckptaudit]
paths = ["weights", "*.pt"]
select = ["trust", "keys"]
ignore = ["absent-tie"]
fail-on = "warning"
baseline = "accepted.json"
against = "weights.lock.json"
map = ["module="]
expect-device = "cpu"
deep = true
limits = { tensors = 10 }

[tool.ckptaudit.per-path."old/*"]
ignore = ["needs-code"]
against = "old.lock.json"

[tool.ckptaudit.per-path."old/b.pt"]
select = ["integrity"]
deep = false
"""


def written(folder: Path, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text)
    return str(path)


def test_every_setting(tmp_path: Path) -> None:
    found = load(written(tmp_path, WHOLE))
    assert found.folder == str(tmp_path)
    assert found.paths == ("weights", "*.pt")
    assert (found.fail_on, found.baseline, found.limits) == ("warning", "accepted.json", {"tensors": 10})
    assert found.options.select == ("trust", "keys")
    assert (found.options.map, found.options.expect_device, found.options.deep) == (("module=",), "cpu", True)
    assert found.options.against is not None
    assert os.path.samefile(os.path.dirname(found.options.against), tmp_path)
    assert set(names(found)) == {"trust", "keys", "absent-tie", "needs-code", "integrity"}


@pytest.mark.parametrize(
    ("path", "select", "ignore", "deep", "against"),
    [
        ("new/a.pt", ("trust", "keys"), ("absent-tie",), True, "weights.lock.json"),
        ("old/a.pt", ("trust", "keys"), ("absent-tie", "needs-code"), True, "old.lock.json"),
        ("old/deep/a.pt::model", ("trust", "keys"), ("absent-tie", "needs-code"), True, "old.lock.json"),
        ("old/b.pt", ("integrity",), ("absent-tie", "needs-code"), False, "old.lock.json"),
        ("old/b.pt::ema", ("integrity",), ("absent-tie", "needs-code"), False, "old.lock.json"),
        ("./old/../old/b.pt", ("integrity",), ("absent-tie", "needs-code"), False, "old.lock.json"),
    ],
)
@pytest.mark.parametrize("place", ["", "sub", "old"])
def test_options_of_one_path_wherever_the_call_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, path: str, select: tuple[str, ...],
    ignore: tuple[str, ...], deep: bool, against: str,
) -> None:  # fmt: skip
    found = load(written(tmp_path, WHOLE))
    (tmp_path / place).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    options = found.options_for(os.path.relpath(tmp_path / path))
    assert (options.select, options.ignore, options.deep) == (select, ignore, deep)
    assert options.against is not None
    assert os.path.basename(options.against) == against
    assert found.options_for(str(tmp_path / path)) == options


def test_what_a_call_says_counts_for_more() -> None:
    below = Options(select=("a",), ignore=("b",), against="c", map=("d=",), expect_device="e", deep=True)
    assert Options().over(below) == below
    above = Options(select=("A",), ignore=("B",), against="C", map=("D=",), expect_device="E", deep=False)
    assert above.over(below) == Options(("A",), ("b", "B"), "C", ("D=",), "E", False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tool.ckptaudit]\nselct = []", "unknown setting 'selct'.*per-path"),
        ('[tool.ckptaudit.per-path."*"]\npaths = []', "unknown setting 'paths'"),
        ("[tool.ckptaudit]\nselect = 'trust'", "select is a list of strings"),
        ("[tool.ckptaudit]\nignore = [3]", "ignore is a list of strings"),
        ("[tool.ckptaudit]\nagainst = 3", "against is a string"),
        ("[tool.ckptaudit]\nfail-on = ['error']", "fail-on is a string"),
        ("[tool.ckptaudit]\ndeep = 'yes'", "deep is true or false"),
        ("[tool.ckptaudit]\nlimits = { tensors = -1 }", "whole numbers"),
        ("[tool.ckptaudit]\nlimits = { tensors = true }", "whole numbers"),
        ("[tool.ckptaudit]\nlimits = 3", "whole numbers"),
        ("[tool.ckptaudit]\nper-path = 3", "something else than tables"),
        ("[tool.ckptaudit.per-path]\n'*.pt' = 3", "something else than tables"),
        ("[tool.ckptaudit\n", "no TOML"),
        ("tool = 3 # ckptaudit", "no table"),
        ("[tool]\nckptaudit = 3", "no table"),
        ("", "no table"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load(written(tmp_path, text))
    assert caught.value.path.endswith("pyproject.toml")


def test_no_such_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*--config"):
        load(str(tmp_path / "gone.toml"))
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="no TOML"):
        load(str(tmp_path / "latin.toml"))


@pytest.mark.parametrize(
    ("inner", "found"),
    [
        ("", "outer"),
        ("[project]\nname = 'x' # ckptaudit is for weights", "outer"),
        ("[tool.ckptaudit]\n", "inner"),
        ("[tool]\nckptaudit = {}\n", "inner"),
    ],
)
def test_the_nearest_settings(tmp_path: Path, inner: str, found: str) -> None:
    paths = {"outer": written(tmp_path, "[tool.ckptaudit]\n"), "inner": written(tmp_path / "sub", inner)}
    assert find(str(tmp_path / "sub")) == paths[found]


def test_none_at_all(tmp_path: Path) -> None:
    assert find(str(tmp_path)) is None
    assert Config().options_for("x") == Options()
    assert Config().inside("x") == "x"


@pytest.mark.parametrize("place", ["", "sub"])
def test_paths_references_and_baselines_count_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    text = 'paths = ["w"]\nagainst = "ref/r.safetensors"\nselect = ["keys"]\nbaseline = "b.json"\n'
    path = written(tmp_path, f"[tool.ckptaudit]\n{text}")
    for name in ("w", "ref", "sub"):
        (tmp_path / name).mkdir()
    write_safetensors(tmp_path / "ref/r.safetensors", MLP)
    write_safetensors(tmp_path / "w/x.safetensors", {**MLP, "more": (1,)})
    perform(Request((), config=load(path), update_baseline=True))
    monkeypatch.chdir(tmp_path / place)
    report = perform(Request((), config=load(find() or "")))
    assert report.exit_code == 0
    assert [finding.rule for finding in report.files[0].accepted] == ["unexpected-keys"]
    assert report.files[0].identity == "w/x.safetensors"


def test_limits_of_the_settings(tmp_path: Path) -> None:
    path = str(write_safetensors(tmp_path / "x.safetensors", MLP))
    found = load(written(tmp_path, "[tool.ckptaudit]\nlimits = { header_bytes = 2 }\n"))
    assert check(path).exit_code == 0
    assert perform(Request((path,), config=found)).exit_code == 3
    with pytest.raises(ConfigError, match="'header' is no limit"):
        perform(
            Request((path,), config=load(written(tmp_path, "[tool.ckptaudit]\nlimits = { header = 2 }\n")))
        )
