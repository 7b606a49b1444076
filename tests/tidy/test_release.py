"""The version, the changelog and the package agree."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from mistralrs_mlx.version import __version__
from scripts import check_release
from tests.tidy.source import ROOT

HEADING = re.compile(r"^## \[?(\d+\.\d+\.\d+)\]?", re.MULTILINE)


def test_the_newest_heading_of_the_changelog_is_the_version() -> None:
    headings = HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert headings[0] == __version__


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["version"]["path"] == "mistralrs_mlx/version.py"
    assert "version" not in project["project"]


def test_the_wheel_carries_what_is_not_python() -> None:
    assert (ROOT / "mistralrs_mlx" / "py.typed").is_file()


@pytest.mark.usefixtures("demo_gguf")
def test_a_release_is_built_installed_and_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = check_release.main(["--outdir", str(tmp_path / "dist")])
    said = capfd.readouterr()
    assert (status, said.err) == (0, "")
    assert "the demo model says: " in said.out


def test_a_wheel_without_the_package_is_unfit(tmp_path: Path) -> None:
    wheel = tmp_path / "empty.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tests/conftest.py", "")
    with pytest.raises(check_release.Unfit, match=r"lacks mistralrs_mlx/__init__\.py"):
        check_release.check_contents(wheel)


def test_a_wheel_with_tests_is_unfit(tmp_path: Path) -> None:
    wheel = tmp_path / "full.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in [*(ROOT / "mistralrs_mlx").rglob("*"), ROOT / "tests" / "conftest.py"]:
            if path.is_file():
                archive.write(path, path.relative_to(ROOT))
    with pytest.raises(check_release.Unfit, match=r"has tests/conftest\.py"):
        check_release.check_contents(wheel)
