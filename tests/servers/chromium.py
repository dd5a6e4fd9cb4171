"""A real browser, without a network but this machine's, and what is measured of pages in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ENOUGH = 4.5
"""Least contrast of text: WCAG 2.2, 1.4.3."""

CONTRAST = """selector => {
    const numbers = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = text => numbers(text).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const found = document.querySelector(selector);
    let behind = found;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const [one, two] = [light(getComputedStyle(found).color), light(getComputedStyle(behind).backgroundColor)].sort();
    return (two + 0.05) / (one + 0.05);
}"""
"""Gives the contrast of the text of the first element that a selector finds, by the formula of WCAG 2.2."""


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, driven by Playwright. Skips the test where there is none; in CI that is a failure, unless OMEGA_WITHOUT_BROWSER is set."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    missing = "" if program else "no chromium: install Debian's package to check pages in a browser"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "no playwright: install it to check pages in a browser"
    if missing and os.environ.get("CI") == "true" and "OMEGA_WITHOUT_BROWSER" not in os.environ:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
