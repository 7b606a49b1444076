"""Optional packages are found, whatever the user's scripts are called."""

import subprocess
import sys
from pathlib import Path

import pytest

from mistralrs_mlx.extras import extra
from tests.tidy.source import ROOT

CODE = """
import sys
print("ran")
from mistralrs_mlx.extras import extra
found = extra({name!r})
import {name}
sys.exit({name} is not found or {name}.__file__ == __file__)
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["llguidance", "regex"])
def test_a_script_called_like_a_package_is_not_imported(name: str, tmp_path: Path) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text(CODE.format(name=name))
    for arguments, folder in (([str(script)], ROOT), ([script.name], tmp_path)):
        done = run(*arguments, folder=folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize("how", ["-c", "-m"])
def test_nor_is_one_where_python_was_started(how: str, tmp_path: Path) -> None:
    (tmp_path / "regex.py").write_text("raise SystemExit(7)")
    (tmp_path / "main.py").write_text(CODE.format(name="regex"))
    what = CODE.format(name="regex").replace("== __file__", "== ''") if how == "-c" else "main"
    assert run(how, what, folder=tmp_path).returncode == 0


def test_a_script_is_not_taken_for_a_package_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "nothing_like_it.py").write_text(CODE.format(name="nothing_like_it"))
    done = run("nothing_like_it.py", folder=tmp_path)
    assert done.stdout == "ran\n"
    assert "No module named 'nothing_like_it', but a script" in done.stderr


def test_a_package_that_fails_leaves_no_half_of_it(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "broken.py").write_text("raise ImportError('half')")
    (tmp_path / "broken.py").write_text(
        f"import sys\nsys.path.append({str(installed)!r})\n"
        "from mistralrs_mlx.extras import extra\n"
        "try:\n    extra('broken')\nexcept ImportError as error:\n"
        "    sys.exit(str(error) != 'half' or 'broken' in sys.modules)\n"
    )
    assert run("broken.py", folder=tmp_path).returncode == 0


def test_what_is_imported_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", sys)
    assert extra("llguidance") is sys
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ModuleNotFoundError):
        extra("llguidance")


def test_the_library_that_borrows_models_is_imported_beside_such_scripts(tmp_path: Path) -> None:
    pytest.importorskip("mlx_lm")
    (tmp_path / "regex.py").write_text(
        "from mistralrs_mlx.loaders.fallback import _imported\n"
        "print('ran')\n"
        "import sys\n"
        "sys.exit(not _imported('mlx_lm.models.olmo2').Model)\n"
    )
    done = run("regex.py", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
