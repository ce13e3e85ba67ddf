"""Agreement of annotators, and the error of a single label that follows from their differences."""

import numpy as np
import pandas as pd
import pytest

from utils.labelling.agreement import annotator_agreement, label_error


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def two_annotators(rng, error, frames=20):
    """Labels of the same frames by two annotators, each with independent errors of standard deviation `error`."""
    truth = rng.uniform(-0.8, 0.8, (frames, 2))
    labels = [truth + rng.normal(0, error, truth.shape) for _ in range(2)]
    tables = [
        pd.DataFrame(values, columns=["valence", "arousal"]).assign(track=0, frame=np.arange(frames), annotator=name)
        for name, values in zip("ab", labels, strict=True)
    ]
    return pd.concat(tables)


def test_agreement_and_label_error(rng):
    similar, different = two_annotators(rng, 0.05, 200), two_annotators(rng, 0.4, 200)
    table = annotator_agreement(similar)
    assert table["axis"].tolist() == ["valence", "arousal"] and (table["frames"] == 200).all()
    assert (table[["CCC", "ICC(A,1)", "ICC(A,k)"]] > 0.95).all(axis=None)
    assert (annotator_agreement(different)["CCC"] < table["CCC"]).all()
    np.testing.assert_allclose(table["CCC"], table["ICC(A,1)"], atol=0.02)  # nearly equal for two unbiased annotators
    np.testing.assert_allclose(label_error(similar), 0.05, rtol=0.15)
    np.testing.assert_allclose(label_error(different), 0.4, rtol=0.15)


def test_third_annotator_of_few_frames_does_not_change_the_pairwise_agreement(rng):
    two = two_annotators(rng, 0.1)
    third = two[two["annotator"] == "a"].head(1).assign(annotator="")
    with_third, without = annotator_agreement(pd.concat([two, third])), annotator_agreement(two)
    assert with_third["CCC"].tolist() == without["CCC"].tolist() and with_third["ICC(A,1)"].isna().all()


def test_one_annotator_or_few_shared_frames_give_no_agreement(rng):
    two = two_annotators(rng, 0.1, 2)
    assert annotator_agreement(two).empty and annotator_agreement(two[two["annotator"] == "a"]).empty
    assert label_error(two[two["annotator"] == "a"]).tolist() == [0, 0]


def test_constant_labels_have_no_intraclass_correlation():
    table = two_annotators(np.random.default_rng(0), 0.1, 5).assign(valence=0.5)
    agreement = annotator_agreement(table).set_index("axis")
    assert np.isnan(agreement.loc["valence", "ICC(A,1)"]) and np.isfinite(agreement.loc["arousal", "ICC(A,1)"])
