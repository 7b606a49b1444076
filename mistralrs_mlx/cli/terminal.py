"""What a terminal is shown of a text from elsewhere: its words, and none of the orders in it."""

from typing import TextIO

__all__ = ["shown"]

# Escape sequences rename windows, fill the clipboard and write over what stands there already.
ORDERS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
ORDERS[ord("\r")] = ""  # before a line break it means nothing


def shown(text: str, on: TextIO) -> str:
    """The text without control characters, if it goes to a terminal; a file gets it as it is."""
    return text.translate(ORDERS) if on.isatty() else text
