"""The pre-commit hook: git and pre-commit themselves run it, in a repository with checkpoints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ckptaudit.locate import SUFFIXES

yaml = pytest.importorskip("yaml", reason="PyYAML comes with pre-commit")
pytest.importorskip("pre_commit")

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
BESIDE = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
PAYLOAD = b"cos\nsystem\n(S'true'\ntR."
# What pip says where it reaches no package index, and in no other case.
UNREACHABLE = re.compile(
    r"Temporary failure in name resolution|NameResolutionError|NewConnectionError|ConnectTimeoutError"
    r"|ReadTimeoutError|Failed to establish a new connection|Network is unreachable|Connection refused"
    r"|Cannot connect to proxy|ProxyError|hatchling\S* \(from versions: none\)"
)

OWN = ("GIT_", "PRE_COMMIT", "SKIP")  # set where the tests are run by a hook, say
IDENTITY = {"NAME": "test", "EMAIL": "test@example.invalid"}

pytestmark = [
    pytest.mark.plain,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, on both streams, and its exit code."""

    code: int
    text: str


class Git:
    """git and pre-commit with a home of their own: neither reads, nor writes, what belongs to the user."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        who = {
            f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()
        }
        self._env = {
            **kept,
            **who,
            "HOME": str(home),
            "USERPROFILE": str(home),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "PRE_COMMIT_HOME": str(home / "pre-commit"),
            "PRE_COMMIT_COLOR": "never",
            "PYTHONIOENCODING": "utf-8",
        }

    def run(self, folder: Path, *command: str) -> Done:
        """Run a command in a folder."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=600,
        )
        return Done(done.returncode, done.stdout)

    def pre_commit(self, folder: Path, *arguments: str) -> Done:
        """Run pre-commit."""
        return self.run(folder, sys.executable, "-m", "pre_commit", *arguments)

    def create(self, folder: Path) -> None:
        """Make a repository of a folder: everything in it is committed."""
        for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-q", "--allow-empty", "-m", "all")):
            done = self.run(folder, "git", *arguments)
            assert done.code == 0, done.text


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def published(git: Git, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Settings that take the hook from a repository of this project, its environment built already."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "ckptaudit", project / "ckptaudit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, project)
    git.create(project)
    rev = git.run(project, "git", "rev-parse", "HEAD").text.strip()
    config = _config({"repo": str(project), "rev": rev, "hooks": [{"id": HOOK["id"]}]})
    folder = tmp_path_factory.mktemp("first")
    (folder / ".pre-commit-config.yaml").write_text(config)
    git.create(folder)
    built = git.pre_commit(folder, "install-hooks")
    if built.code and UNREACHABLE.search(built.text):
        pytest.skip("no package index can be reached to build the hook's environment")
    assert built.code == 0, built.text
    return config


@pytest.fixture(scope="module")
def local() -> str:
    """Settings with our hook as it is, but for its environment: the one that runs the tests."""
    entry = f'"{sys.executable}" -m ckptaudit check'
    return _config({"repo": "local", "hooks": [{**HOOK, "language": "system", "entry": entry}]})


def _config(repository: dict[str, object]) -> str:
    text: str = yaml.safe_dump({"repos": [repository]})
    return text


@pytest.fixture(params=["local", "published"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that is to become a repository, its hook taken from here or from there."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / ".pre-commit-config.yaml").write_text(request.getfixturevalue(request.param))
    (folder / "README.md").write_text("no checkpoint\n")
    return folder


def test_clean_checkpoints_pass(git: Git, repository: Path) -> None:
    shutil.copy(FIXTURES / "mlp.params", repository / "model.pt")
    shutil.copy(FIXTURES / "mlp.safetensors", repository / "Upper.SafeTensors")
    shutil.copytree(FIXTURES / "sharded_safetensors", repository / "shards of it")
    git.create(repository)
    done = git.pre_commit(repository, "run", "--all-files", "--verbose")
    assert done.code == 0, done.text
    assert "0 errors, 0 warnings, 0 notes in 3 files" in done.text


def test_bad_checkpoints_fail_and_say_why(git: Git, repository: Path) -> None:
    shutil.copy(FIXTURES / "mlp.params", repository / "good.pt")
    shutil.copy(FIXTURES / "lfs_pointer.pt", repository / "pointer.pt")
    (repository / "payload.pkl").write_bytes(PAYLOAD)
    git.create(repository)
    done = git.pre_commit(repository, "run", "--all-files")
    assert done.code == 1
    assert "exit code: 3" in done.text
    assert "not-fetched  pointer.pt  git-LFS pointer" in done.text
    assert "dangerous-global  payload.pkl" in done.text
    assert "in 3 files" in done.text


def test_commit_is_refused(git: Git, repository: Path) -> None:
    git.create(repository)
    assert git.pre_commit(repository, "install").code == 0
    for name, content in (("payload.bin", PAYLOAD), ("good.pt", (FIXTURES / "mlp.params").read_bytes())):
        (repository / name).write_bytes(content)
        git.run(repository, "git", "add", name)
        done = git.run(repository, "git", "commit", "-m", name)
        if name == "good.pt":
            assert done.code == 0, done.text
        else:
            assert done.code == 1
            assert "dangerous-global  payload.bin" in done.text
            git.run(repository, "git", "rm", "--cached", name)
    assert git.run(repository, "git", "log", "--format=%s").text.split() == ["good.pt", "all"]


def test_a_name_is_no_option(git: Git, repository: Path) -> None:
    (repository / "--config=evil.pt").write_bytes(PAYLOAD)
    git.create(repository)
    done = git.pre_commit(repository, "run", "--all-files")
    assert done.code == 1
    assert "dangerous-global  --config=evil.pt" in done.text


def test_settings_of_the_project_apply(git: Git, repository: Path) -> None:
    shutil.copy(FIXTURES / "devices_mixed.pt", repository / "model.pt")
    git.create(repository)
    assert git.pre_commit(repository, "run", "--all-files").code == 0
    (repository / "pyproject.toml").write_text("[tool.ckptaudit]\nfail-on = 'warning'\n")
    done = git.pre_commit(repository, "run", "--all-files")
    assert done.code == 1
    assert "device-mismatch  model.pt" in done.text


@pytest.mark.parametrize(
    "name", [*(f"m{suffix}" for suffix in SUFFIXES), "M.PTH", "a/model.safetensors.index.json"]
)
def test_files_of_these_names_are_looked_at(name: str) -> None:
    assert re.search(HOOK["files"], name)


@pytest.mark.parametrize("name", ["a.py", "pt", "mypt", "a.pt.py", "index.json", "a.json", "x.ptx"])
def test_files_of_these_names_are_not(name: str) -> None:
    assert not re.search(HOOK["files"], name)


def test_pointers_are_not_left_out() -> None:
    assert HOOK["types"] == ["file"]
    assert not {"types_or", "exclude_types", "exclude"} & HOOK.keys()
