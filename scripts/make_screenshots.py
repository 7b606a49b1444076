"""Take pictures of the server's pages with the demo model, for the documentation.

    python -m scripts.make_screenshots

Needs Chromium with its chromedriver. The chat goes to docs/images/chat.png; all the others, among
them the same in the dark, to build/screenshots/, where one may look at them.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from mistralrs_mlx import Runner, demo_model
from tests.server.browsing import PICTURES, Page, browser
from tests.server.conftest import live

IMAGES = Path(__file__).parents[1] / "docs" / "images"
QUESTIONS = ("What is the capital of France?", "Write a haiku about the sea.")


def main() -> None:
    with (
        Runner(demo_model()) as runner,
        live(runner) as url,
        tempfile.TemporaryDirectory() as profile,
        browser(Path(profile)) as page,
    ):
        for wish in ("light", "dark"):
            page.dark(wish == "dark")
            _chat(page, url)
            page.picture(f"chat-{wish}")
            page.open(f"{url}/docs")
            page.until(lambda: page.all("details.route"))
            page.find("details.route").click()
            page.until(lambda: page.all("details.route td"))
            page.picture(f"docs-{wish}")
    pictures = PICTURES
    shutil.copy(pictures / "chat-light.png", IMAGES / "chat.png")
    print(f"{IMAGES / 'chat.png'}; look at the others in {pictures}", file=sys.stderr)


def _chat(page: Page, url: str) -> None:
    """A conversation, each question asked when the last is answered."""
    page.open(url)
    page.until(lambda: page.all("#model option"))
    page.find("#heat").send_keys("0")
    for number, question in enumerate(QUESTIONS, 1):
        _ask(page, question, number)


def _ask(page: Page, question: str, number: int) -> None:
    page.find("#text").send_keys(question + "\n")
    page.until(lambda: len(page.texts(".turn.assistant .note:not(:empty)")) == number)
    page.until(lambda: page.find("#send").is_displayed())


if __name__ == "__main__":
    main()
