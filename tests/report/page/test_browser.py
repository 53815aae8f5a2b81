"""A report in a real browser: every chart is drawn, nothing is logged, nothing overflows a phone, and no text of a run becomes code."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jepakit.report.page.page import write_report
from jepakit.report.page.study import load_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("plotly", reason="the extra `report` is not installed")
driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
PATIENCE = 120_000  # ms


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(runs: Path) -> Path:
    return write_report(load_study([runs]), runs.parent / "report.html")


def opened(browser: Browser, report: Path, width: int, scheme: Any) -> tuple[Page, list[str]]:
    """The page with all its charts drawn, and what the browser complained of."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True).new_page()
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"asked for {request.url[:80]}"))
    page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready]")
    for chart in page.locator("[data-chart]").all():
        chart.scroll_into_view_if_needed()
        page.wait_for_selector(f"[data-chart='{chart.get_attribute('data-chart')}'][data-ready] svg.main-svg")
    return page, complaints


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_the_page_is_drawn_without_a_complaint_and_fits(browser: Browser, report: Path, width: int, scheme: str) -> None:
    page, complaints = opened(browser, report, width, scheme)
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("[data-chart]").count() == page.locator("[data-chart][data-ready]").count() > 8
    assert {"returns", "variance", "probe-linear", "ahead", "time"} <= {
        chart.get_attribute("data-chart") for chart in page.locator("[data-chart]").all()
    }
    if scheme == "dark":
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 22)"
        assert "rgb(62, 147, 214)" in str(page.locator("[data-chart=returns] .plot").inner_html())  # the first colour, for dark pages
    page.context.close()


def test_the_bar_hides_configurations_and_shows_single_seeds(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report, 1000, "light")

    def lines() -> int:
        return page.locator("[data-chart=returns] .scatterlayer .trace path.js-line").count()

    before = lines()
    page.click("#seeds")
    assert lines() == before + 6
    page.click(".key[data-config='1']")
    assert lines() == before + 6 - 2 - before // 3
    assert page.locator(".key[data-config='1']").get_attribute("aria-pressed") == "false"
    page.dblclick(".key[data-config='0']")
    assert page.locator(".key[aria-pressed=true]").count() == 1
    assert complaints == []
    page.context.close()
