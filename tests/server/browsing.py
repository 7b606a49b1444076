"""A real browser without a window, for the pages; and pictures of them, for those who look."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.tidy.source import ROOT

__all__ = ["PICTURES", "Page", "browser"]

PICTURES = ROOT / "build" / "screenshots"
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSERS = ("chromium", "google-chrome", "chrome", MAC)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=900,700"),
]
PATIENCE = 20.0  # seconds


class Page:
    """A page that is shown, and what a person does with it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [str(each.get_property("textContent")) for each in self.all(selector)]

    def until(self, condition: Callable[[], object], message: str = "") -> None:
        WebDriverWait(self.driver, PATIENCE, 0.02).until(lambda _: condition(), message)

    def dark(self, wanted: bool) -> None:
        """Pretend that the person likes dark pages, or light ones."""
        value = "dark" if wanted else "light"
        said = {"features": [{"name": "prefers-color-scheme", "value": value}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", said)

    def picture(self, name: str) -> Path:
        """Keep a picture of what is shown."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path

    def complaints(self) -> list[str]:
        """What the browser itself finds wrong with the page."""
        found = self.driver.get_log("browser")
        severe = [str(each["message"]) for each in found if each["level"] == "SEVERE"]
        return [each for each in severe if "status of 4" not in each]  # those are the server's


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser whose profile is this empty folder. Where there is none, the test skips."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        reason = "there is no Chromium with its chromedriver (Debian: chromium, chromium-driver)"
        if os.environ.get("MISTRALRS_MLX_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    shown = Chrome(options=options, service=Service(driver))
    try:
        yield Page(shown)
    finally:
        shown.quit()
