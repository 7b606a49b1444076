"""Web pages that a search leads to: none of them takes hours to read."""

import time

import pytest

from mistralrs_mlx.runtime.pages import page, results_in
from mistralrs_mlx.runtime.web import Reply

UNITS = [
    "<",
    "<!--",
    "<a ",
    "<a b='",
    "</",
    "<?",
    "<!",
    "<![CDATA[",
    "<script>",
    "<script></",
    "&#",
]


def text_of(html: str) -> str:
    return page("http://x.example/", lambda _: Reply(kind="text/html", text=html)).content


def seconds(unit: str, end: str, size: int) -> float:
    html = unit * (size // len(unit)) + end
    began = time.process_time()
    text_of(html)
    results_in(html)
    return time.process_time() - began


@pytest.mark.parametrize("end", ["", ">", "-->"])
@pytest.mark.parametrize("unit", UNITS)
def test_eight_times_the_page_takes_about_eight_times_as_long(unit: str, end: str) -> None:
    assert seconds(unit, end, 160_000) < 25 * max(0.01, seconds(unit, end, 20_000))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one<!-- two > --><b>three</b><!----> four</p>", "onethree four"),
        ("<p>one</p><!-- two", "one"),
        ("<p>one</p>two <a href='x", "one\ntwo"),
        ("only words", "only words"),
        ("<script>if (a < b) {}</script>one<br>", "one"),
    ],
)
def test_a_page_without_its_comments_says_the_same(html: str, text: str) -> None:
    assert text_of(html) == text
