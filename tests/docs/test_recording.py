"""The picture in the README is of a real run, and small."""

import xml.etree.ElementTree as ET

from scripts.make_recording import PICTURE, PROMPTS, Piece, picture

SPAN = "{http://www.w3.org/2000/svg}tspan"


def shown(svg: str) -> str:
    return "".join(span.text or "" for span in ET.fromstring(svg).iter(SPAN))


def test_the_picture_shows_the_commands_and_the_answers() -> None:
    said = shown(PICTURE.read_text(encoding="utf-8"))
    assert all(f"mistralrs-mlx run --temperature 0 -i '{prompt}'" in said for prompt in PROMPTS)
    assert "The capital of France is Paris." in said


def test_the_picture_is_small() -> None:
    assert PICTURE.stat().st_size < 100_000


def test_a_newline_begins_a_line_and_markup_is_escaped() -> None:
    svg = picture([Piece("a <b>\nc", 1.0), Piece("&d\n", 2.5)])
    assert shown(svg) == "a <b>c&d"
    assert svg.count("<text ") == 2
    assert "animation-delay:2.50s" in svg
