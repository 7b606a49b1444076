"""The breaks that `make sabotage` makes can still be made."""

from pathlib import Path

import pytest

from scripts.sabotage import BREAKS, PARTS, Break
from tests.tidy.source import ROOT


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_a_break_is_a_change_of_one_place(each: Break, tmp_path: Path) -> None:
    file = tmp_path / "mistralrs_mlx" / each.path
    whole = (ROOT / "mistralrs_mlx" / each.path).read_text(encoding="utf-8")
    file.parent.mkdir(parents=True)
    file.write_text(whole)
    each.make(tmp_path)
    assert file.read_text() != whole
    each.mend(tmp_path)
    assert file.read_text() == whole


def test_there_is_what_a_copy_is_made_of() -> None:
    assert not [part for part in PARTS if not (ROOT / part).exists()]
