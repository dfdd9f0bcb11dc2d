"""The page in a real browser: it draws, searches, sorts, follows keys and links, and logs no error."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ckptaudit.audit import error
from ckptaudit.diagram.draw import programs
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint
from tests.handmade import checkpoint, gpt2
from tests.hostile.texts import NAMES
from tests.reports.check.made import file, found, report

pytest.importorskip("jinja2", reason="the page is made with jinja2")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from ckptaudit.reports.html.page import checked, inspected  # noqa: E402
from ckptaudit.reports.html.part import View  # noqa: E402

FIXTURES = Path(__file__).parents[3] / "fixtures"
Open = Callable[[str], None]
needs_drawing = pytest.mark.skipif(next(programs(), None) is None, reason="no Graphviz is installed")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # No sandbox: the page is ours, and containers that tests run in often cannot have one.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chrome: Any) -> Iterator[Any]:
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chrome.get_log("browser")
    yield chrome
    # A dialog would make the log fail, and anything that the policy refused stands in it.
    assert chrome.get_log("browser") == []


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Open:
    def opened(page: str) -> None:
        path = tmp_path / "page.html"
        path.write_text(page, encoding="ascii")
        browser.get(path.as_uri())

    return opened


def fixture(name: str) -> Checkpoint:
    return read_at(str(FIXTURES / name))


def labels(browser: Any) -> list[str]:
    script = "return [...document.querySelectorAll('.row .label')].map((each) => each.textContent)"
    names: list[str] = browser.execute_script(script)
    return names


def focused(browser: Any) -> str:
    return str(browser.execute_script("return document.activeElement.querySelector('.label')?.textContent"))


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def searched(browser: Any, text: str) -> str:
    field = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    field.clear()
    field.send_keys(text)
    time.sleep(0.4)  # it waits for more to be typed
    output = browser.find_element(By.CSS_SELECTOR, "output")
    WebDriverWait(browser, 10).until(lambda _: " of " in output.text)
    return str(output.text)


def test_it_renders(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(gpt2(), View()))
    assert browser.title == "made.pt - ckptaudit"
    assert labels(browser)[:3] == ["wte", "weight", "wpe"]
    assert "124.4 M" in browser.find_element(By.TAG_NAME, "main").text
    tree = browser.find_element(By.CSS_SELECTOR, "[role=tree]")
    rows = tree.find_elements(By.CSS_SELECTOR, "[role=treeitem]")
    assert all(row.get_attribute("aria-level") for row in rows)
    folded = next(row for row in rows if "alike (0-11)" in row.text)
    assert folded.get_attribute("aria-expanded") == "false"
    folded.click()
    assert labels(browser).count("11") == 1
    folded.click()
    assert labels(browser).count("11") == 0


def test_search(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(gpt2(), View()))
    assert searched(browser, "h.3.mlp.c_fc.b").startswith("1 of ")
    assert labels(browser) == ["h.3.mlp.c_fc.bias"]
    assert browser.find_element(By.TAG_NAME, "mark").text == "h.3.mlp.c_fc.b"
    assert searched(browser, "[50257, 768]").startswith("2 of ")
    assert searched(browser, "c_fc 3072 weight").startswith("12 of ")
    searched(browser, "h.3.mlp.c_fc.bias")
    press(browser, Keys.ENTER, Keys.ENTER)  # to the first result, and from there to its row in the tree
    assert focused(browser) == "bias"
    assert "wte" in labels(browser)
    level = browser.execute_script("return document.activeElement.getAttribute('aria-level')")
    assert level == "5"


def test_keys(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(gpt2(), View()))
    press(browser, *[Keys.TAB] * 5)
    assert focused(browser) == "wte"
    press(browser, Keys.ARROW_DOWN)
    assert focused(browser) == "weight"
    press(browser, Keys.ARROW_LEFT)
    assert focused(browser) == "wte"
    press(browser, Keys.ARROW_LEFT)
    assert labels(browser)[:2] == ["wte", "wpe"]
    press(browser, Keys.ARROW_RIGHT)
    assert labels(browser)[:2] == ["wte", "weight"]
    press(browser, Keys.ARROW_RIGHT)
    assert focused(browser) == "weight"
    press(browser, Keys.END)
    assert focused(browser) == "weight"
    press(browser, Keys.ARROW_UP)
    assert focused(browser) == "lm_head"
    press(browser, Keys.HOME, "l", "n")
    assert focused(browser) == "ln_f"
    press(browser, Keys.HOME)
    time.sleep(0.8)  # what was typed is forgotten
    press(browser, "h")
    assert focused(browser) == "h"
    press(browser, Keys.SPACE, Keys.ARROW_DOWN, "*")
    assert labels(browser).count("attn") == 12
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ENTER)
    assert labels(browser).count("attn") == 0
    tabs = browser.execute_script(
        "return document.querySelectorAll('.rows [role=treeitem][tabindex=\"0\"]').length"
    )
    assert tabs == 1


def test_sort(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(checkpoint({(): ("model", {"b": (9,), "a10": (2, 3), "a9": (100,)})}), View()))
    # Siblings that differ by a number come in its order wherever they stand in the file.
    assert labels(browser) == ["b", "a9", "a10"]
    for order, told in (
        ("name", ["a9", "a10", "b"]),
        ("size", ["a9", "b", "a10"]),
        ("file", ["b", "a9", "a10"]),
    ):
        browser.find_element(By.CSS_SELECTOR, f"option[value={order}]").click()
        assert labels(browser) == told


def test_a_tie_leads_to_the_other_row(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(fixture("shared.pt"), View()))
    browser.find_element(By.LINK_TEXT, "= 2.weight").click()
    WebDriverWait(browser, 5).until(lambda _: focused(browser) == "weight")
    row = browser.find_element(By.CSS_SELECTOR, "[aria-selected]")
    assert "= 4.weight" in row.text
    assert row.get_attribute("id") in browser.current_url


@needs_drawing
def test_a_tied_edge_of_the_diagram_leads_to_its_row(browser: Any, show: Open) -> None:
    show(inspected(fixture("tiny_gpt.pt"), View()))
    line = browser.find_element(By.CSS_SELECTOR, "svg .edge path")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", line)
    # A point on the line itself: its box is mostly empty.
    x, y = browser.execute_script(
        "const [line] = arguments, at = line.getPointAtLength(line.getTotalLength() * 0.5);"
        "const place = new DOMPoint(at.x, at.y).matrixTransform(line.getScreenCTM());"
        "return [place.x, place.y]",
        line,
    )
    click_at(browser, x, y)
    WebDriverWait(browser, 5).until(lambda _: focused(browser) == "weight")
    row = browser.find_element(By.CSS_SELECTOR, "[aria-selected]")
    assert "hit" in row.get_attribute("class")
    assert row.find_element(By.CSS_SELECTOR, ".tie").text in ("= wte.weight", "= lm_head.weight")


def click_at(browser: Any, x: float, y: float) -> None:
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


@needs_drawing
def test_a_row_of_the_diagram_leads_into_a_fold(browser: Any, show: Open) -> None:
    show(inspected(fixture("tiny_gpt.pt"), View()))
    link = browser.find_element(By.XPATH, "//*[local-name()='text'][.='attn']")
    assert "attn" not in labels(browser)
    ActionChains(browser).move_to_element(link).click().perform()
    WebDriverWait(browser, 5).until(lambda _: focused(browser) == "attn")


def test_the_diagram_moves(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(fixture("shared.pt"), View()))
    canvas = browser.find_element(By.CSS_SELECTOR, ".canvas")
    svg = canvas.find_element(By.TAG_NAME, "svg")

    def view() -> list[float]:
        return [float(number) for number in svg.get_dom_attribute("viewBox").split()]

    browser.execute_script("arguments[0].scrollIntoView()", canvas)
    whole = view()
    browser.find_element(By.CSS_SELECTOR, ".diagram [data-do='+']").click()
    assert view()[2] < whole[2]
    browser.find_element(By.CSS_SELECTOR, ".diagram [data-do='0']").click()
    assert view() == whole
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(40, 20).release().perform()
    moved = view()
    assert moved[0] < whole[0]
    assert moved[1] < whole[1]
    browser.execute_script("arguments[0].focus()", canvas)
    press(browser, "0")
    assert view() == whole
    press(browser, "+", Keys.ARROW_RIGHT)
    assert view()[2] < whole[2]
    press(browser, "0")
    box = browser.execute_script("return arguments[0].getBoundingClientRect()", canvas)
    event = {"type": "mouseWheel", "x": box["x"] + 50, "y": box["y"] + 50, "deltaX": 0, "deltaY": -120}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    WebDriverWait(browser, 5).until(lambda _: view()[2] < whole[2])


def test_findings_and_rows_lead_to_each_other(browser: Any, show: Open, drawing: None) -> None:
    finding = error("odd", ("h.7.attn.c_attn.bias",))
    show(checked(report(file("a.pt"), file("b.pt", found(finding))), lambda file: gpt2()))
    browser.find_element(By.LINK_TEXT, "h.7.attn.c_attn.bias").click()
    WebDriverWait(browser, 5).until(lambda _: focused(browser) == "bias")
    row = browser.find_element(By.CSS_SELECTOR, "[aria-selected]")
    assert row.get_attribute("id").startswith("row-f2-t-")
    row.find_element(By.LINK_TEXT, "error").click()
    assert browser.current_url.endswith("#finding-f2-0")
    browser.back()
    WebDriverWait(browser, 5).until(lambda _: focused(browser) == "bias")


def test_names_are_text(browser: Any, show: Open, drawing: None) -> None:
    names = (*NAMES.values(), "</script><script>alert(2)</script>", "<img src=x onerror=alert(3)>")
    show(inspected(checkpoint({(): ("model", {name.replace(".", "_"): (1,) for name in names})}), View()))
    assert "<script>alert(1)</script>" in labels(browser)
    assert "weight\\u202egpj_exe" in labels(browser)
    assert browser.execute_script("return document.scripts.length") == 2
    assert browser.find_elements(By.CSS_SELECTOR, "main img") == []
    assert searched(browser, "<script>alert(1)").startswith("1 of ")


def test_twenty_thousand_tensors(
    browser: Any, show: Open, drawing: None, record_property: Callable[[str, object], None]
) -> None:
    layers = {f"layers.{place // 20}.part{place % 20}.weight": (1 + place % 7, 2) for place in range(20_000)}
    page = inspected(checkpoint({(): ("model", layers)}), View())
    start = time.perf_counter()
    show(page)
    WebDriverWait(browser, 30).until(lambda _: labels(browser))
    seconds = time.perf_counter() - start
    record_property("seconds to open 20,000 tensors", round(seconds, 2))
    assert seconds < 60  # on a slow and busy machine; on an idle one it is a fraction of a second
    assert browser.execute_script("return document.querySelectorAll('.row').length") < 400
    assert searched(browser, "layers.777.part7.weight").startswith("1 of ")
    assert searched(browser, "weight").endswith("the first 200 are shown")


def test_a_long_list_is_drawn_by_pieces(browser: Any, show: Open, drawing: None) -> None:
    flat = {f"{chr(97 + place % 26)}{place}x": (1 + place, 2) for place in range(2000)}
    show(inspected(checkpoint({(): ("model", flat)}), View()))
    drawn = len(labels(browser))
    assert drawn <= 300
    more = browser.find_element(By.CSS_SELECTOR, ".row.more")
    assert "more of 1,7" in more.text
    more.click()
    assert len(labels(browser)) == drawn + 300
    searched(browser, "z1975x")
    press(browser, Keys.ENTER, Keys.ENTER)
    assert focused(browser) == "z1975x"


def test_dark_and_narrow(browser: Any, show: Open, drawing: None) -> None:
    show(inspected(gpt2(), View()))
    shade = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(shade)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert browser.execute_script(shade) != light
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_print(browser: Any, show: Open, drawing: None) -> None:
    keys = [f"k{place}" for place in range(30)]
    show(checked(report(file("a.pt", found(error("x", keys)))), lambda file: gpt2()))
    browser.execute_script(
        "addEventListener('beforeprint', () => {"
        "const rows = document.querySelectorAll('.row').length;"
        "window.printed = [rows, document.querySelector('details').open]})"
    )
    before = labels(browser)
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    rows, is_open = browser.execute_script("return window.printed")
    assert rows > len(before)
    assert is_open
    assert labels(browser) == before


def test_no_script(browser: Any, show: Open, drawing: None) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(inspected(gpt2(), View()))
        assert "ckptaudit inspect prints it" in browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
