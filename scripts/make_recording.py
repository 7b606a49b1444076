"""Record a real session of `mistralrs-mlx run` in a terminal as an animated SVG, for the README.

    python -m scripts.make_recording [FILE]

Every piece of text appears after as much time as it took, waiting for the model cut short.
"""

import html
import os
import pty
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Piece", "picture"]

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "run.svg"
COLUMNS, CHARACTER, LINE, MARGIN = 84, 8.4, 20, 18  # of the terminal, and pixels
PATIENCE = 1.5  # seconds that a pause is shown at most
SPARE = 6  # columns for the rest of a word that comes in several pieces
TYPED = 0.03  # seconds for each letter of a command
PROMPTS = ("What is the capital of France?", "Write a haiku about the sea.")
FONT = 'ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace'
STYLE = f"""
text{{font:14px {FONT};fill:#d6deeb;white-space:pre}}
tspan{{animation:show 1ms both}}.c{{fill:#82aaff}}.d{{fill:#7f8ea3}}
@keyframes show{{from{{opacity:0}}}}
@media (prefers-reduced-motion:reduce){{tspan{{animation:none}}}}"""


@dataclass(frozen=True)
class Piece:
    """Some text of one line, when it appears, and its class: c a command, d dimmed."""

    text: str
    after: float  # seconds from the start
    kind: str = ""


def main(argv: list[str]) -> None:
    pieces: list[Piece] = []
    for prompt in PROMPTS:
        pieces += _session(prompt, _end(pieces) + (0.8 if pieces else 0.4))
    path = Path(argv[0]) if argv else PICTURE
    path.parent.mkdir(exist_ok=True)
    path.write_text(picture(pieces), encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes", file=sys.stderr)


def picture(pieces: list[Piece]) -> str:
    """The SVG. A newline in a piece begins the next line."""
    lines: list[list[Piece]] = [[]]
    for piece in pieces:
        first, *more = piece.text.split("\n")
        lines[-1].append(Piece(first, piece.after, piece.kind))
        lines += [[Piece(text, piece.after, piece.kind)] for text in more]
    while not any(piece.text.strip() for piece in lines[-1]):
        lines.pop()
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    rows = [
        f'<text x="{MARGIN}" y="{MARGIN + LINE * number + 14}">{"".join(map(_span, line))}</text>'
        for number, line in enumerate(lines)
        if line
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
            f'width="{width:.0f}" role="img">',
            f"<title>A session: {html.escape(PROMPTS[0])}</title><style>{STYLE}</style>",
            f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#0d1726"/>',
            *rows,
            "</svg>",
            "",
        ]
    )


def _session(prompt: str, start: float) -> list[Piece]:
    """One command, typed and carried out in a terminal."""
    command = ["mistralrs-mlx", "run", "--temperature", "0", "-i", prompt]
    typed = shlex.join(command)
    pieces = [Piece("$ ", start, "d")]
    pieces += [Piece(letter, start + at * TYPED, "c") for at, letter in enumerate(typed, 1)]
    pieces.append(Piece("\n", _end(pieces)))
    heard = _heard([sys.executable, "-m", "mistralrs_mlx", *command[1:]])
    answer = _wrapped([piece for piece in heard if piece.text])
    now, before = _end(pieces), 0.0
    for piece in answer:
        now += min(piece.after - before, PATIENCE)
        before = piece.after
        pieces.append(Piece(piece.text, now))
    pieces.append(Piece("\n", now))
    return pieces


def _heard(command: list[str]) -> list[Piece]:
    """What the program writes to a terminal, piece by piece as it comes."""
    outer, inner = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)}
    began, pieces = time.monotonic(), []
    with subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT
    ):
        os.close(inner)
        while read := _read(outer):
            text = read.decode(errors="replace").replace("\r\n", "\n")
            pieces.append(Piece(text, time.monotonic() - began))
    os.close(outer)
    return pieces


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the program has left: Linux says so this way
        return b""


def _wrapped(pieces: list[Piece]) -> list[Piece]:
    """The same with line ends where a word would cross the edge of the terminal."""
    wrapped, column = [], 0
    for piece in pieces:
        text = piece.text
        if text.startswith(" ") and column + len(text) > COLUMNS - SPARE:
            text = "\n" + text.lstrip()
        _, newline, last = text.rpartition("\n")
        column = len(last) if newline else column + len(text)
        wrapped.append(Piece(text, piece.after))
    return wrapped


def _span(piece: Piece) -> str:
    style = f'style="animation-delay:{piece.after:.2f}s"'
    kind = f' class="{piece.kind}"' if piece.kind else ""
    return f"<tspan{kind} {style}>{html.escape(piece.text)}</tspan>" if piece.text else ""


def _end(pieces: list[Piece]) -> float:
    return pieces[-1].after if pieces else 0.0


if __name__ == "__main__":
    main(sys.argv[1:])
