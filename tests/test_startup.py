"""Reading loads no big library, opens only the given file, and runs nothing: watched from a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "fixtures"
FILES = sorted(
    file
    for file in FOLDER.rglob("*")
    if file.is_file() and file.suffix not in (".py", ".pyc", ".md") and ".real" not in file.parts
)
HEAVY = {"torch", "numpy", "networkx", "rich", "safetensors", "pickle"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Every file is looked at twice: what ckptaudit imports late is there when the second look is recorded, so
# that any event but opening the file is one too many.
CHILD = """
import io, json, sys

events = None

def plain(thing):
    return thing if isinstance(thing, (str, int)) else getattr(thing, "co_filename", type(thing).__name__)

def hear(event, args):
    if events is not None and event != "builtins.id":  # id() is an event too, and does nothing
        events.append([event, *map(plain, args)])

def inspect(path):
    for command in (["inspect", "--format", "json"], ["check", "--no-config", "--deep"]):
        sys.argv = ["ckptaudit", *command, path]
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        try:
            ckptaudit.cli.run()
        finally:
            sys.stdout, sys.stderr = out, err

def unpickle(path):
    with open(path, "rb") as file:
        pickle.load(file)

request = json.load(sys.stdin)
sys.path[1:1] = request["sys_path"]
if request["unpickle"]:
    import pickle
    look = unpickle
else:
    import ckptaudit.cli
    look = inspect
    for path in request["paths"]:
        look(path)
known = set(sys.modules)
sys.addaudithook(hear)
heard = {}
for path in request["paths"]:
    events = []
    look(path)
    heard[path], events = events, None
loaded = set(sys.modules)
json.dump({"heard": heard, "modules": sorted(loaded), "late": sorted(loaded - known)}, sys.stdout)
"""

CANARY = b"cckptaudit_canary\nsing\n(tR."
CANARY_MODULE = "from pathlib import Path\n\ndef sing():\n    Path(__file__).with_name('sung').touch()\n"


def watch(paths: list[Path], *, sys_path: str = "", unpickle: bool = False) -> dict[str, Any]:
    """What a child that looks at `paths` was heard to do: events by path, and its modules."""
    request = {
        "paths": [str(path) for path in paths],
        "sys_path": [sys_path] if sys_path else [],
        "unpickle": unpickle,
    }
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer


def beyond_reading(events: list[list[Any]], path: Path) -> list[list[Any]]:
    """The events that are not the opening, to read, of the file.

    An index may open the files beside it, and list their names.
    """
    shards = path.parent if path.name.endswith(".index.json") else None
    return [event for event in events if not _opens(event, path, shards)]


def _opens(event: list[Any], path: Path, shards: Path | None) -> bool:
    if event[0] == "os.scandir" and shards is not None:
        return Path(event[1]).resolve() == shards.resolve()
    if event[0] != "open" or not isinstance(event[1], str) or event[3] & WRITES:
        return False
    opened = Path(event[1]).resolve()
    return opened == path.resolve() or (shards is not None and opened.parent == shards.resolve())


@pytest.fixture(scope="module")
def watched() -> dict[str, Any]:
    return watch(FILES)


@pytest.fixture
def canaries(tmp_path: Path) -> list[Path]:
    """Files that call a module of ours, which leaves a trace, if anything but a reader reads them."""
    (tmp_path / "ckptaudit_canary.py").write_text(CANARY_MODULE)
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(CANARY)
    archive = tmp_path / "archive.pt"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", CANARY)
        file.writestr("archive/version", "3\n")
    return [bare, archive]


@pytest.mark.parametrize("command", ["inspect --format json", "check", "check --format json"])
def test_no_big_library_is_loaded(tmp_path: Path, command: str) -> None:
    listing = tmp_path / "modules.json"
    code = (
        "import json, sys\n"
        "listing = sys.argv.pop(1)\n"
        "from ckptaudit.cli import run\n"
        "code = run()\n"
        "json.dump(sorted(sys.modules), open(listing, 'w'))\n"
        "sys.exit(code)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, listing, *command.split(), FOLDER / "mlp.params"],
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr.decode()
    loaded = json.loads(listing.read_text())
    assert "ckptaudit.readers.torch_zip" in loaded
    assert HEAVY.isdisjoint(loaded)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(FOLDER).as_posix())
def test_reading_only_opens_the_file(watched: dict[str, Any], file: Path) -> None:
    events = watched["heard"][str(file)]
    assert any(event[0] == "open" for event in events)
    assert beyond_reading(events, file) == []


def test_reading_all_loads_nothing_that_a_file_names(watched: dict[str, Any]) -> None:
    assert HEAVY.isdisjoint(watched["modules"])
    assert watched["late"] == []


def test_a_call_in_a_file_does_not_run(canaries: list[Path], tmp_path: Path) -> None:
    answer = watch(canaries, sys_path=str(tmp_path))
    assert {path.name: beyond_reading(answer["heard"][str(path)], path) for path in canaries} == {
        "bare.pkl": [],
        "archive.pt": [],
    }
    assert "ckptaudit_canary" not in answer["modules"]
    assert not (tmp_path / "sung").exists()


def test_the_watch_hears_a_call_that_runs(canaries: list[Path], tmp_path: Path) -> None:
    bare = canaries[0]
    answer = watch([bare], sys_path=str(tmp_path), unpickle=True)
    heard = {event[0] for event in beyond_reading(answer["heard"][str(bare)], bare)}
    assert heard >= {"pickle.find_class", "import", "exec", "open"}
    assert "ckptaudit_canary" in answer["late"]
    assert (tmp_path / "sung").exists()
