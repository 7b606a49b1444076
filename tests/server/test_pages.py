"""The pages in a real browser: what a person does there works."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from selenium.webdriver.common.keys import Keys

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.described import OPERATIONS
from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.tiny_checkpoint import write_tiny_llama

from .asking import busy, until
from .browsing import Page, browser
from .conftest import live

ANSWER = ".turn.assistant"
WORDS = f"{ANSWER} > div:not(.note)"  # beside it there may be thoughts


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One that sees and hardly ever ends, and one that ends soon."""
    folder = tmp_path_factory.mktemp("hub")
    seeing = write_tiny_phi4mm(folder / "seeing", intermediate_size=64)
    settings = seeing / "generation_config.json"
    said = json.loads(settings.read_text())
    settings.write_text(json.dumps(said | {"suppress_tokens": [said["eos_token_id"]]}))
    brief = write_tiny_llama(folder / "brief", max_position_embeddings=64)
    with Runner(Which.MultimodalPlain(model_id=str(seeing)), max_seqs=2) as runner:
        runner.add_model(Which.Plain(model_id=str(brief)))
        yield runner


@pytest.fixture(scope="module")
def address(models: Runner) -> Iterator[str]:
    with live(models) as url:
        yield url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium: Page, address: str) -> Page:
    """The chat page, as it is when it has just been opened."""
    chromium.open(address)
    chromium.until(lambda: len(chromium.all("#model option")) == 3)
    return chromium


def ask(page: Page, text: str, *, model: int = 0) -> None:
    """Ask one of the models: 0 is the default, 2 the one that ends soon."""
    page.all("#model option")[model].click()
    page.find("#text").send_keys(text + Keys.ENTER)


def test_an_answer_grows_until_it_is_stopped_and_its_row_is_free(
    page: Page, models: Runner
) -> None:
    ask(page, "Hello")
    page.until(lambda: page.texts(WORDS) and page.texts(WORDS)[-1])
    before = page.texts(WORDS)[-1]
    page.until(lambda: len(page.texts(WORDS)[-1]) > len(before) + 20)
    assert page.texts(WORDS)[-1].startswith(before)
    assert busy(models)
    page.picture("growing")
    page.find("#stop").click()
    page.until(lambda: page.find("#send").is_displayed())
    assert until(lambda: not busy(models))
    assert page.texts(f"{ANSWER} .note") == ["stopped"]


def test_escape_stops_too_and_the_chat_goes_on_from_what_was_said(
    page: Page, models: Runner
) -> None:
    ask(page, "Hello")
    page.until(lambda: page.texts(WORDS) and page.texts(WORDS)[-1])
    page.find("#text").send_keys(Keys.ESCAPE)
    assert until(lambda: not busy(models))
    page.until(lambda: page.find("#send").is_displayed())
    assert page.driver.execute_script("return turns.map((turn) => turn.role)") == [
        "user", "assistant",
    ]  # fmt: skip


def test_the_chosen_model_answers_and_says_how_fast(page: Page) -> None:
    ask(page, "Why?", model=2)
    page.until(lambda: page.texts(f"{ANSWER} .note") and page.find("#send").is_displayed())
    assert page.driver.execute_script("return turns.length") == 2
    (note,) = page.texts(f"{ANSWER} .note")
    assert note.startswith("cut off at the limit, ")
    assert note.endswith(" tokens")
    speed, unit = page.find("#speed").text.split()
    assert (float(speed) > 0, unit) == (True, "tokens/s")


@pytest.mark.parametrize(
    ("name", "kind", "view"),
    [("red.png", "image_url", "img"), ("dull.wav", "input_audio", "audio")],
)
def test_what_is_attached_is_shown_sent_and_read(
    page: Page, tmp_path: Path, name: str, kind: str, view: str
) -> None:
    file = tmp_path / name
    if view == "img":
        Image.new("RGB", (60, 40), "red").save(file)
    else:
        soundfile.write(file, np.zeros(8000), 16_000)
    page.find("#file").send_keys(str(file))
    page.until(lambda: [each.rstrip("×")[-len(name) :] for each in page.texts(".file")] == [name])
    page.picture(f"attached-{view}")
    ask(page, "What is it?")
    page.until(lambda: page.all(f".turn.user {view}"))
    assert page.texts(".file") == []
    page.until(lambda: (page.texts(WORDS) and page.texts(WORDS)[-1]) or page.texts(".turn.error"))
    page.find("#text").send_keys(Keys.ESCAPE)
    assert page.texts(".turn.error") == []
    sent = page.driver.execute_script("return turns[0].content")
    assert [part["type"] for part in sent] == [kind, "text"]


def test_an_error_is_shown_and_the_question_can_be_mended(page: Page) -> None:
    ask(page, "x" * 500, model=2)
    page.until(lambda: page.all(".turn.error"))
    assert "greater than 64" in page.find(".turn.error").text
    assert page.find("#text").get_property("value") == "x" * 500
    page.picture("error")


def test_shift_and_enter_begin_a_line(page: Page) -> None:
    page.find("#text").send_keys("a" + Keys.SHIFT + Keys.ENTER)
    page.find("#text").send_keys("b")
    assert page.find("#text").get_property("value") == "a\nb"
    assert page.all(".turn") == []


def test_a_new_chat_forgets_the_old_one(page: Page) -> None:
    ask(page, "Why?", model=2)
    page.until(lambda: page.all(ANSWER) and page.find("#send").is_displayed())
    page.find("#clear").click()
    assert page.all(".turn") == []
    assert page.driver.execute_script("return turns.length") == 0


@pytest.mark.parametrize("path", ["/", "/ui", "/docs"])
def test_a_page_asks_for_the_key_and_works_with_it(
    chromium: Page, models: Runner, path: str
) -> None:
    with live(models, Settings(api_key="sesame")) as url:
        chromium.open(url + path)
        chromium.until(lambda: "wants a key" in chromium.find("body").text)
        chromium.find("#key").send_keys("sesame" + Keys.TAB)
        chromium.until(lambda: chromium.all("#model option, details.route"))
        assert "wants a key" not in chromium.find("body").text


def test_the_routes_are_listed_with_their_fields_and_can_be_tried(
    chromium: Page, address: str
) -> None:
    chromium.open(f"{address}/docs")
    chromium.until(lambda: len(chromium.all("details.route")) == len(OPERATIONS))
    box = next(each for each in chromium.all("details.route") if "/tokenize" in each.text)
    box.click()
    chromium.until(lambda: chromium.all("details.route[open] table"))
    assert "prompt" in chromium.texts("details.route[open] td.must")
    chromium.find("details.route[open] button").click()
    chromium.until(lambda: '"tokens": [' in chromium.find("details.route[open] pre").text)
    assert chromium.find("details.route[open] pre").text.startswith("200 OK")
    chromium.picture("routes")


def test_the_browser_finds_nothing_wrong_with_the_pages(chromium: Page) -> None:
    assert chromium.complaints() == []
