"""Damaged and malicious files: a short run of benchmarks/fuzz.py, and the files of all bugs that it has found."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import READERS, attempt, cases

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_readers_raise_declared_errors_only(name, caplog):
    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(cases(READERS[name]))
    def run(content: bytes) -> None:
        attempt(READERS[name], content)

    run()


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(name, tmp_path):
    if name != "weights":  # the valid file has the right format, but lacks the tensors of the network
        READERS[name].read(READERS[name].seeds[0], tmp_path)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
@pytest.mark.filterwarnings("ignore")
def test_files_that_once_caused_undeclared_errors(path):
    attempt(READERS[path.parent.name], path.read_bytes())


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_readers_of_arbitrary_bytes_raise_declared_errors_only(content):
    for reader in READERS.values():
        attempt(reader, content)
