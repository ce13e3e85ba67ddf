"""The benchmark of time and memory runs on a small archive, since it builds its labelling from parts of its own."""

from unittest.mock import patch

from benchmarks import archive_speed


def test_cost_per_video_of_a_small_archive():
    with patch.multiple(archive_speed, COST_FRAMES=400, COST_WINDOW=3):
        table = archive_speed.measure_cost(13)
    assert list(table["videos"]) == ["10 to 12", "6 to 8", "10 to 12"]
    assert (table[["ms per video", "CPU ms per video", "peak MB"]] > 0).all(axis=None)


def test_suggestions_in_a_small_archive_lower_the_expected_error():
    with patch.multiple(archive_speed, NEXT_VIDEOS=20, NEXT_FRAMES=50, NEXT_LABELS=3):
        table = archive_speed.measure_next()
    assert list(table["people"]) == [20, 10]
    assert (table["after 3"] < table["expected RMSE before"]).all()
