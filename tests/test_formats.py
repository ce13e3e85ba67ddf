"""The table of annotation formats, in code and in docs/formats.md."""

import re
from pathlib import Path

import pytest

from datasets.annotations.formats import EXPORTS, FORMATS, LABEL_ENDINGS
from utils.config.sections import VideoSettings

DOCS = Path(__file__).parents[1] / "docs" / "formats.md"


def test_documentation_lists_every_format():
    section = DOCS.read_text(encoding="utf-8").split("## All formats")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == [entry.name for entry in FORMATS]
    for row, entry in zip(rows[2:], FORMATS, strict=True):
        assert tuple(re.findall(r"`(\.[\w~]+)`", row[1])) == entry.suffixes
        assert ("labels" in row[2]) == (entry.read_labels is not None)
        assert ("rating" in row[2]) == (entry.read_rating is not None)
        assert (f"`{entry.name.lower()}`" in row[3]) == (entry.export is not None)


def test_label_endings_are_read_by_their_format():
    assert LABEL_ENDINGS == ("_labels.csv", ".csv", "_labels.tsv", ".eaf", ".valence.annotation")
    assert all(ending.endswith(entry.suffixes) and entry.read_labels for entry in FORMATS for ending in entry.beside)


def test_exports_of_the_settings_are_those_of_the_registry():
    assert VideoSettings(exports=",".join(EXPORTS)).export_names == list(EXPORTS)
    assert VideoSettings().export_names == ["elan", "nova"] and VideoSettings(exports="none").export_names == []
    assert "|".join(EXPORTS) in VideoSettings.model_json_schema()["properties"]["exports"]["pattern"]
    with pytest.raises(ValueError, match="exports"):
        VideoSettings(exports="elan,csv")
