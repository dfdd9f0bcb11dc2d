"""Every hostile, broken or scary file of the corpus: nothing runs, nothing breaks, and it is said plainly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import gadgets
from tests.hostile.callables import MARKER
from tests.hostile.case import Case
from tests.hostile.corpus import CASES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures processes as Linux does")

_ROOT = Path(__file__).parents[1]
_MEGABYTES = 256  # what one hostile file may cost
_SECONDS = (
    40  # of processor time: several times what the slowest needs on a slow, busy machine; more is a hang
)
_SMALL = [case for case in CASES if case.kind != "exhaustion"]
_LARGE = [case for case in CASES if case.kind == "exhaustion"]
Told = dict[str, Any]


def _kind(*kinds: str) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in CASES if case.kind in kinds]


def _child(seconds: int, paths: list[Path]) -> list[Told]:
    command = [sys.executable, "-m", "tests.hostile.child", str(seconds), *map(str, paths)]
    env = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=_ROOT, env=env, capture_output=True, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if len(told) < len(paths):
        lost = {
            "traceback": f"killed by signal {-done.returncode} (24: hang) {done.stderr[-500:]}",
            "megabytes": 0,
        }
        told += [{**lost, "problems": [], "globals": [], "error": "", "events": []}] * (
            len(paths) - len(told)
        )
    return told


def _alone(case: Case, folder: Path) -> Told:
    folder.mkdir()
    path = case.build(folder)
    told = _child(_SECONDS, [path])[0]
    path.unlink()
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What became of each file: the small ones in one process, the large ones each in its own."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = []
    for index, case in enumerate(_SMALL):
        place = folder / str(index)
        place.mkdir()
        paths.append(case.build(place))
    answers = dict(zip((case.name for case in _SMALL), _child(_SECONDS * 4, paths), strict=True))
    with ThreadPoolExecutor(2) as pool:
        folders = [folder / f"large{index}" for index in range(len(_LARGE))]
        answers |= zip((case.name for case in _LARGE), pool.map(_alone, _LARGE, folders), strict=True)
    for left in folder.rglob(MARKER):
        answers[_SMALL[int(left.parent.name)].name]["events"].append("the payload ran")
    return answers


def _words(told: Told) -> list[str]:
    return [told["error"], *(f"{code} {detail}" for code, detail in told["problems"])]


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.plain
@pytest.mark.parametrize("case", _kind("payload", "broken", "exhaustion", "lies", "text", "honest"))
def test_nothing_runs_and_nothing_breaks(case: Case, told: dict[str, Told]) -> None:
    assert told[case.name]["traceback"] == ""
    assert told[case.name]["events"] == []


@pytest.mark.plain
@pytest.mark.parametrize("case", _kind("payload"))
def test_what_a_payload_imports_is_listed(case: Case, told: dict[str, Told]) -> None:
    listed = {name: how for name, *how in told[case.name]["globals"]}
    assert set(case.names) <= set(listed)
    assert all(listed[name][1] for name in case.called)
    assert any(map(_is_an_error, listed.values()))


def _is_an_error(how: tuple[str, bool, bool]) -> bool:
    """Whether a name runs code, or is one that nobody knows and called as functions are."""
    verdict, called, instance = how
    return called and (verdict == "dangerous" or (verdict == "unknown" and not instance))


@pytest.mark.plain
@pytest.mark.parametrize("case", _kind("broken", "lies"))
def test_what_is_wrong_is_said(case: Case, told: dict[str, Told]) -> None:
    words = _words(told[case.name])
    assert any(words)
    assert any(all(part in line for part in case.says) for line in words)


@pytest.mark.plain
@pytest.mark.parametrize("case", [param for param in _kind("payload") if param.values[0].says])
def test_what_is_wrong_around_a_payload_is_said(case: Case, told: dict[str, Told]) -> None:
    assert any(all(part in line for part in case.says) for line in _words(told[case.name]))


@pytest.mark.plain
@pytest.mark.parametrize("case", _kind("exhaustion"))
def test_memory_is_bounded(case: Case, told: dict[str, Told]) -> None:
    assert told[case.name]["megabytes"] <= _MEGABYTES
    assert told[case.name].get("count", 0) < 1000  # problems to print


@pytest.mark.plain
@pytest.mark.parametrize("case", [param for param in _kind("exhaustion") if param.values[0].limit])
def test_a_limit_reached_is_named(case: Case, told: dict[str, Told]) -> None:
    assert any(f"limit {case.limit}=" in line for line in _words(told[case.name]))


@pytest.mark.plain
@pytest.mark.parametrize("case", _kind("honest"))
def test_no_false_alarm(case: Case, told: dict[str, Told]) -> None:
    answer = told[case.name]
    assert (answer["error"], answer["problems"]) == ("", [])
    assert not [name for name, *how in answer["globals"] if how[0] == "dangerous" or _is_an_error(how)]


_REAL = ("payload: raw pickle", "payload: raw pickle of protocol 0")
_LOAD = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"


@pytest.mark.parametrize("name", _REAL)
def test_the_corpus_is_real(name: str, tmp_path: Path) -> None:
    # Our own harmless payload: an empty file in a folder of the test's own.
    case = next(case for case in CASES if case.name == name)
    subprocess.run([sys.executable, "-c", _LOAD, str(case.build(tmp_path))], check=False, capture_output=True)
    assert (tmp_path / MARKER).exists()


_DETOURS = ("pkgutil.resolve_name", "methodcaller", "attrgetter", "map", "filter", "partial",
"memo entry overwritten",
            "numpy's own rebuild function", "MEMOIZE after PUT", "popped decoy", "decoy behind a MARK",
            "duplicate",
            "INST", "OBJ", "protocol 0", "names as escaped UNICODE", "INT with a NUL first",
            "octal INT first",
            "LONG with a NUL first", "FLOAT with a NUL first", "GET with a NUL first",
            "item of a list set first",
            "empty BUILD of a list first", "empty BUILD of a number first", "append to a bytearray first",
            "no members for a list first", "octal escape over 255 first")  # fmt: skip
_UNZIP = """
import pickle, sys, zipfile
pickle.loads(zipfile.ZipFile(sys.argv[1]).read("a/data.pkl"), encoding="latin1")
"""


@pytest.mark.parametrize("name", _DETOURS)
def test_the_detours_are_real(name: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == f"detour: {name}")
    done = subprocess.run(
        [sys.executable, "-c", _UNZIP, str(case.build(tmp_path))], capture_output=True, text=True
    )
    if "No module named" in done.stderr:
        pytest.skip("needs numpy")
    assert (tmp_path / MARKER).exists(), done.stderr


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in gadgets.CASES])
def test_the_gadgets_are_real(case: Case, tmp_path: Path) -> None:
    if case.name.removeprefix("gadget: ") in gadgets.UNPROVEN:
        pytest.skip("needs a library that the tests do without, or a program around it")
    library = tmp_path / "library" / "someone"
    library.mkdir(parents=True)
    (library / "elses.py").write_text(gadgets.HELPERS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _UNZIP, str(case.build(tmp_path))],
        env={**os.environ, "PYTHONPATH": str(library.parent)},
        capture_output=True,
        text=True,
    )
    if "No module named" in done.stderr:
        pytest.skip("needs torch, numpy or sympy")
    assert (tmp_path / MARKER).exists(), done.stderr
