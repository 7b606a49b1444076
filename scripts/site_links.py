"""Hooks of mkdocs: what pages link to outside docs/ becomes part of the site.

On GitHub `../examples/README.md` leads to that file. The site has no such place, so the hook adds
a page for it: Markdown as it is, code in a frame. Links are written once and right in both places.
"""

import json
import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = [
    "ROOT",
    "barred",
    "filled",
    "on_config",
    "on_files",
    "on_page_markdown",
    "outside",
    "place",
    "relinked",
]

ROOT = Path(__file__).parents[1]
DOCS = "docs"
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
CODE = re.compile(r"`[^`]+`")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "sh"}


def on_config(config: "MkDocsConfig") -> None:
    """Put all decisions into the navigation."""
    config.nav = filled(config.nav or [])


def filled(nav: Any) -> Any:
    """The navigation, where a folder stands for all its pages."""
    if isinstance(nav, list):
        return [filled(part) for part in nav]
    if isinstance(nav, dict):
        return {title: filled(under) for title, under in nav.items()}
    return nav if nav.endswith(".md") else _pages(nav)


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add a page for each file outside docs/ that can be reached by links from a page of it."""
    from mkdocs.structure.files import File

    for path in _reachable([f"{DOCS}/{file.src_uri}" for file in files.documentation_pages()]):
        files.append(File.generated(config, place(path), content=_content(path)))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Let links to files outside docs/ lead to their pages, and bars in tables be bars."""
    return barred(relinked(markdown, f"{DOCS}/{page.file.src_uri}"))


def barred(text: str) -> str:
    """Code in tables with plain bars: GitHub wants backslashes there, which the site would show."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("|"):
            lines[number] = CODE.sub(lambda found: found[0].replace(r"\|", "|"), line)
    return "\n".join(lines)


def outside(text: str, path: str) -> list[str]:
    """The files outside docs/ to which a page links, as paths from the root."""
    targets = [_target(link, path) for link in LINK.findall(text)]
    return [each for each in targets if not each.startswith(f"{DOCS}/") and _is_file(each)]


def place(path: str) -> str:
    """Where the site has a file: `examples/plain.py` is the page `source/examples/plain.py.md`."""
    suffix = "" if PurePosixPath(path).suffix == ".md" else ".md"
    return f"source/{path}{suffix}"


def relinked(text: str, path: str) -> str:
    """The text with links as the site needs them. A page of our own is at `docs/source/...`."""
    real = path.removeprefix(f"{DOCS}/source/")
    home = f"{DOCS}/{place(real)}" if real != path else path

    def lead(found: re.Match[str]) -> str:
        target = _target(found[1], real)
        if target.startswith(f"{DOCS}/"):
            return relpath(target, str(PurePosixPath(home).parent))
        if not _is_file(target):
            return found[1]
        return relpath(f"{DOCS}/{place(target)}", str(PurePosixPath(home).parent))

    return LINK.sub(lead, text)


def _pages(folder: str) -> list[str]:
    """Its index, then the others by name."""
    names = sorted(path.name for path in (ROOT / DOCS / folder).glob("*.md"))
    names.sort(key=lambda name: name != "README.md")
    return [f"{folder}/{name}" for name in names]


def _reachable(pages: list[str]) -> list[str]:
    found: list[str] = []
    waiting = list(pages)
    while waiting:
        page = waiting.pop()
        for path in outside((ROOT / page).read_text(encoding="utf-8"), page):
            if path not in found:
                found.append(path)
                waiting += [path] if path.endswith(".md") else []
    return sorted(found)


def _content(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    if path.endswith(".ipynb"):
        return _notebook(json.loads(text))
    language = LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"# {path}\n\n`````{language}\n{text}\n`````\n"


def _notebook(notebook: dict[str, Any]) -> str:
    """Its words, its code and what that showed."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [_output(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    """The richest form of what a cell showed."""
    forms = output.get("data") or {"text/plain": output["text"]}
    forms = {kind: "".join(text) for kind, text in forms.items()}
    if "image/png" in forms:
        return f'<img alt="figure" src="data:image/png;base64,{forms["image/png"].strip()}">'
    if "text/html" in forms:
        return f"<div>{forms['text/html']}</div>"
    return forms.get("text/markdown") or f"```text\n{forms['text/plain'].rstrip()}\n```"


def _target(link: str, path: str) -> str:
    return normpath(f"{PurePosixPath(path).parent}/{link}")


def _is_file(path: str) -> bool:
    return (ROOT / path).is_file()
