# SPDX-License-Identifier: GPL-2.0-only
"""The site as people see it, in a headless Chromium: three widths, light and dark, by keyboard, judged by axe-core.

axe-core (MPL-2.0) is downloaded when the tests run, as part of a package that has it; nothing of it is kept here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.flow.site import write_site
from harness.model.outcome import Verdict
from harness.reports.site.values import NightNote
from harness.store.layout import Layout
from tests.browser import Browser, browser
from tests.unit.results_support import Quiet
from tests.unit.site_support import some_runs

_AXE = "axe-playwright-python==0.1.8"  # axe-core 4.12.1, in 160 KiB
_WIDTHS = (400, 1280, 2560)
_LOOK = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(
    one => one.id + ': ' + one.nodes.slice(0, 3).map(node => node.html.slice(0, 150)).join(' | ')))"""
_TOO_WIDE = """[...document.querySelectorAll('body *')].filter(
    one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.wide, .skip')
    ).slice(0, 3).map(one => one.outerHTML.slice(0, 150))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    layout = Layout(root / "store")
    layout.root.mkdir()
    some_runs(layout)
    note = NightNote("2026-11-20", Verdict.CANNOT_TELL, ("the control boot stayed green",))
    write_site(layout, root / "site", Quiet(), notes=[note])
    return root / "site"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    scratch = tmp_path_factory.mktemp("axe")
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(scratch), _AXE]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        message = f"axe-core cannot be downloaded: {done.stderr.strip()[-300:]}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        return wheel.read("axe_playwright_python/axe.min.js").decode()


def kinds(site: Path) -> list[str]:
    """A page of every kind, the hostile run's among them."""
    runs = sorted(path.name for path in (site / "runs").iterdir())
    first, second, last = runs[0], runs[1], runs[-1]
    cases = sorted(path.relative_to(site).as_posix() for path in (site / "cases" / "ttm-kunit").iterdir())
    return [
        *("index.html", "map.html", "search.html", "cases/index.html", "cases/ttm-kunit.html", "series/index.html"),
        *("series/ttm-shrinker.html", "kernels/index.html", "kernels/7.3.4.html", "figures/index.html"),
        *("figures/pswpout.html", cases[0], cases[-1]),
        *(f"nights/{path.name}" for path in sorted((site / "nights").iterdir())[-1:]),
        *(f"runs/{first}/{name}.html" for name in ("index", "0001-002-boot", "0001-002-boot-console")),
        *(f"runs/{second}/against.html", f"runs/{last}/index.html", f"runs/{last}/0000-001-boot.html"),
        f"runs/{last}/0000-001-boot-console.html",
    ]


@pytest.mark.parametrize("width", _WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_kind_of_page_is_sound(site: Path, tab: Browser, axe: str, width: int, dark: bool) -> None:
    wrong: list[tuple[str, Any]] = []
    for page in kinds(site):
        tab.open(f"file://{site}/{page}", width, dark=dark)
        if tab.said:
            wrong.append((page, tab.said))
        wrong += [(page, url) for url in tab.asked_for if not url.startswith(("file://", "data:"))]
        if tab.ask("document.documentElement.scrollWidth") > width:
            wrong.append((page, tab.ask(_TOO_WIDE)))
        tab.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        tab.ask(axe + "; 0")
        wrong += [(page, one) for one in tab.ask(_LOOK)]
    assert wrong == []


def test_a_page_is_used_by_keyboard(site: Path, tab: Browser) -> None:
    tab.open(f"file://{site}/map.html")
    tab.press("Tab")
    assert tab.ask("document.activeElement.className") == "skip"
    assert tab.ask("document.activeElement.getBoundingClientRect().left") >= 0
    tab.press("Enter")
    assert tab.ask("location.hash") == "#main"
    seen = []
    for _ in range(12):
        tab.press("Tab")
        seen.append(tab.ask("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert "DIV.wide" in seen and seen[-1].startswith("A.")
    assert tab.ask("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_the_search_finds_what_there_is(site: Path, tab: Browser) -> None:
    tab.open(f"file://{site}/search.html#ttm-shrinker%20v9")
    tab.ask("new Promise(done => setTimeout(done, 500))")
    assert tab.ask("document.querySelectorAll('#found tr').length") >= 1
    assert tab.ask("document.querySelector('#found a').textContent").count("ttm-shrinker v9") == 1
    tab.ask("input.value = '<script>alert(1)'; show(); 0")
    assert tab.ask("document.querySelectorAll('#found script').length") == 0
    assert tab.ask("document.querySelectorAll('#found tr').length") >= 1
    assert tab.said == []
    link = tab.ask("document.querySelector('#found a').href")
    tab.open(str(link))
    assert tab.said == []


def test_a_link_into_a_console_unfolds_it(site: Path, tab: Browser) -> None:
    run = sorted((site / "runs").iterdir())[0]
    page = f"file://{run}/0001-002-boot-console.html"
    tab.open(page)
    anchor = tab.ask("document.querySelector('details:not([open]) [id], details:not([open])').id")
    tab.open("about:blank")
    tab.open(f"{page}#{anchor}")
    assert tab.ask(f"document.getElementById('{anchor}').getBoundingClientRect().top < innerHeight")


def test_the_checks_say_no(site: Path, tab: Browser, axe: str, tmp_path: Path) -> None:
    """A page with everything wrong that is looked for."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<html><body style='color: #aaa; background: #fff'><input><p style='width: 3000px'>wide"
        "<img src='http://127.0.0.1:9/x.png'></p><script>console.error('no')</script></body></html>"
    )
    tab.open(f"file://{page}")
    assert any("no" in one for one in tab.said) and any("not loaded" in one for one in tab.said)
    assert any(url.startswith("http:") for url in tab.asked_for)
    assert tab.ask("document.documentElement.scrollWidth") > 1280
    tab.ask(axe + "; 0")
    found = {one.split(":")[0] for one in tab.ask(_LOOK)}
    assert {"color-contrast", "label", "image-alt", "html-has-lang"} <= found
