"""The authors' numbers are those of the reference."""

import pytest

from gencaps_lib.book.authors import AUTHORS
from gencaps_lib.experiments import EXPERIMENTS


@pytest.mark.parametrize(
    ("experiment", "model", "ratio"),
    [
        ("shift-transfer", "autoencoder", 4.1),
        ("shift-transfer", "continuous-capsules", 1.07),
        ("shift-transfer", "digit-capsules", 1.9),
        ("rotation-transfer", "adversarial-autoencoder", 2.1),
        ("rotation-transfer", "autoencoder", 2.8),
        ("rotation-transfer", "digit-capsules", 2.6),
        ("rotation-long-code", "autoencoder-z128", 1.5),
        ("rotation-one-shot", "autoencoder", 5.5),
        ("rotation-one-shot", "continuous-capsules", 2.9),
        ("rotation-extrapolation", "autoencoder", 10.4),
    ],
)
def test_ratios_are_those_that_were_read_off_their_records(experiment, model, ratio):
    assert AUTHORS[experiment, model].ratio == pytest.approx(ratio, abs=0.06)


def test_every_entry_is_a_pair_of_the_registry():
    for experiment, model in AUTHORS:
        assert model in EXPERIMENTS[experiment].models
