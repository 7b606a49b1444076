"""The site has every page, and links lead where they lead on GitHub."""

import json

import pytest
import yaml

from scripts.site_links import ROOT, _content, barred, filled, outside, place, relinked

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SITE = yaml.safe_load(CONFIG)


def leaves(nav: object) -> list[str]:
    """All pages of the navigation."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [leaf for part in parts for leaf in leaves(part)]


def test_every_page_is_in_the_navigation_once() -> None:
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(leaves(filled(SITE["nav"]))) == sorted(pages)


def test_the_site_fetches_nothing_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    assert "http" not in CONFIG


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md"]
    assert not [name for name in pages if f"]({name})" not in index]


@pytest.mark.parametrize(
    ("path", "link", "led"),
    [
        ("docs/tools.md", "api.md", "api.md"),
        ("docs/tools.md", "https://example.org/x.md", "https://example.org/x.md"),
        ("docs/index.md", "../examples/README.md", "source/examples/README.md"),
        ("docs/adr/README.md", "../../CONTRIBUTING.md", "../source/CONTRIBUTING.md"),
        ("docs/index.md", "../examples/plain.py", "source/examples/plain.py.md"),
        ("docs/source/examples/README.md", "plain.py", "plain.py.md"),
        ("docs/source/CONTRIBUTING.md", "docs/adr/README.md", "../adr/README.md"),
        ("docs/tools.md", "../no/such.md", "../no/such.md"),
    ],
)
def test_a_link_is_led_to_its_page(path: str, link: str, led: str) -> None:
    assert relinked(f"[x]({link}#part)", path) == f"[x]({led}#part)"


def test_bars_of_code_in_tables_lose_their_backslash_and_no_others_do() -> None:
    assert barred(r"| `int \| None` | a \| b |") == r"| `int | None` | a \| b |"
    assert barred(r"not in a table: `a \| b`") == r"not in a table: `a \| b`"


def test_a_notebook_is_shown_with_its_outputs() -> None:
    page = _content("examples/notebooks/cookbook.ipynb")
    assert "# Cookbook" in page
    assert "```python\nfrom mistralrs_mlx import" in page
    assert "<div><div" in page  # answers
    assert page.count('<img alt="figure" src="data:image/png;base64,') >= 2


def test_the_site_is_built_so_that_warnings_stop_it() -> None:
    """mkdocs counts no warnings that `--quiet` keeps from being shown."""
    made = next(line for line in MAKEFILE.splitlines() if "mkdocs build" in line)
    assert "--strict" in made
    assert "--quiet" not in made


def test_what_is_linked_outside_docs_gets_a_page() -> None:
    assert outside("[a](../LICENSE) [b](api.md) [c](../gone.md)", "docs/x.md") == ["LICENSE"]
    assert place("LICENSE") == "source/LICENSE.md"


def test_the_measured_widths_are_those_of_the_page() -> None:
    measured = json.loads((ROOT / "scripts/measured/quantization.json").read_text("utf-8"))
    widths = [row["isq"] for row in measured["rows"]]
    assert widths == [None, "8", "6", "5", "4", "3", "2"]
    sizes = {row["isq"]: row["megabytes"] for row in measured["rows"]}
    assert sizes["8"] > sizes["6"] > sizes["5"] > sizes["4"] > sizes["3"] > sizes["2"]
