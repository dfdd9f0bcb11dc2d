from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch", reason="runs models")

from ckptaudit.cli import group  # noqa: E402
from ckptaudit.verify import processes  # noqa: E402
from tests.verify import helpers  # noqa: E402

GOLDEN = "golden.safetensors"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    helpers.write_code(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(processes, "ask", helpers.here)
    monkeypatch.setattr(processes, "_fit", lambda jobs: False)  # one after the other: settings are global
    sys.modules.pop("own_nets", None)
    helpers.save(tmp_path / "net.pt")
    yield
    sys.modules.pop("own_nets", None)


def call(*args: str) -> Result:
    return CliRunner().invoke(group, list(args))


def recorded(model: str = "own_nets:Net", *more: str) -> Result:
    return call("record", "net.pt", "-o", GOLDEN, "--model", model, *more)


def test_text() -> None:
    assert recorded().exit_code == 0
    found = call("verify", "net.pt", "--record", GOLDEN, "--model", "own_nets:Net")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith(f"net.pt against {GOLDEN}  equal\n")
    found = call("verify", "net.pt", "--record", GOLDEN, "--model", "own_nets:steep")
    assert found.exit_code == 1
    assert (
        "  first divergence  act (call 1): weights equal, configuration differs: negative_slope 0.2"
        in found.stdout
    )


def test_json() -> None:
    assert recorded().exit_code == 0
    found = call("verify", "net.pt", "--record", GOLDEN, "--model", "own_nets:steep", "--format", "json")
    told = json.loads(found.stdout)
    assert {*told} >= {"schema", "verdict", "stages", "outputs", "first_divergence", "ties", "settings"}
    assert told["verdict"] == "different"
    assert {*told["stages"][0]} == {"name", "verdict", "detail"}
    assert {*told["outputs"][0]} >= {"name", "max_abs", "max_rel", "mismatched", "nan"}
    assert told["first_divergence"]["module"] == "act"


def test_close_is_for_those_who_allow_it() -> None:
    assert recorded().exit_code == 0
    command = ("verify", "net.pt", "--record", GOLDEN, "--model", "own_nets:Net", "--dtype", "float16")
    assert call(*command).exit_code == 1
    assert call(*command, "--allow-close").exit_code == 0


def test_names_are_escaped() -> None:
    torch.save({"a\x1b[31m\n": torch.randn(8, 6), "##[error]": torch.randn(8)}, "odd.pt")
    found = call("verify", "odd.pt", "--against", "odd.pt", "--model", "own_nets:Net")
    assert found.exit_code == 1
    assert "\x1b" not in found.stdout
    assert "##[" not in found.stdout


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("verify", "net.pt"), 2),
        (("verify", "net.pt", "--record", "a", "--against", "b"), 2),
        (("verify", "net.pt", "--against", "net.pt", "--input", "two"), 2),
        (("verify", "net.pt", "--against", "net.pt", "--input", "2", "--inputs", "x"), 2),
        (("verify", "net.pt", "--against", "net.pt", "--model", "no code"), 2),
        (("verify", "net.pt", "--record", "absent"), 3),
        (("verify", "net.pt", "--record", "net.pt"), 3),
        (("verify", "absent.pt", "--against", "net.pt"), 3),
        (("record", "absent.pt", "-o", GOLDEN), 3),
        (("record", "net.pt", "-o", "net.pt"), 3),
        (("record", "net.pt", "-o", GOLDEN), 1),
        (("record", "net.pt", "-o", GOLDEN, "--model", "own_nets:Lost"), 1),
    ],
)
def test_exit_codes(args: tuple[str, ...], code: int) -> None:
    found = call(*args)
    assert found.exit_code == code, found.output
    assert not Path(GOLDEN).exists()
    assert code == 1 or found.stdout == ""


def test_the_pytest_plugin() -> None:
    assert recorded().exit_code == 0
    from ckptaudit.pytest_plugin import Auditor

    assert Auditor().assert_outputs_equal("net.pt", GOLDEN, model="own_nets:Net").equal
    with pytest.raises(pytest.fail.Exception, match="first divergence  act"):
        Auditor().assert_outputs_equal("net.pt", GOLDEN, model="own_nets:steep")
    with pytest.raises(pytest.fail.Exception, match="close"):
        Auditor().assert_outputs_equal("net.pt", GOLDEN, model="own_nets:Net", dtype="float16")
    Auditor().assert_outputs_equal("net.pt", GOLDEN, model="own_nets:Net", dtype="float16", allow_close=True)


@pytest.mark.parametrize(
    "option", [("--input", "2x6"), ("--inputs", "x.pt"), ("--seed", "20"), ("--threads", "1")]
)
def test_what_a_record_says_itself_is_refused(option: tuple[str, str]) -> None:
    found = call("verify", "net.pt", "--record", GOLDEN, "--model", "own_nets:Net", *option)
    assert found.exit_code == 2
    assert f"{option[0]} is what the record says" in found.stderr
