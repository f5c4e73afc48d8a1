"""The trainings of a report that go on from the natural classifier."""

from types import SimpleNamespace

import numpy as np
import pytest

import locadv_tf as la
from locadv_tf.reports.experiment import DEFAULTS
from locadv_tf.reports.trained import train_all

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trained")]  # they share what was trained

ASKED = DEFAULTS | {"epochs": 2, "train_steps": 1, "trainings": ["natural", "natural, equal compute", "LAT"]}


@pytest.fixture(scope="module")
def data():
    train = la.load_data("digits", "train[:128]")
    return SimpleNamespace(train=train, validation=la.load_data("digits", "validation[:20]"), names=list("0123456789"))


@pytest.fixture(scope="module")
def tuned(data):
    return train_all(ASKED | {"fine_tune": 4}, data, 0.1, progress=False)


def test_the_others_go_on_from_the_natural_classifier(data, tuned):
    model = la.small_cnn((28, 28, 1), 10, seed=0)
    model.set_weights(tuned.models["natural"].get_weights())
    how = la.recipe("LAT", data.train, attack=la.single_step(0.1), validation=data.validation, epochs=4, seed=0)
    la.train_classifier(model, **how)
    for expected, found in zip(model.get_weights(), tuned.models["LAT"].get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_the_natural_classifier_cost_counts(tuned):
    found = {row["model"]: (row["epochs"], row["passes"]) for row in tuned.costs}
    assert found == {"natural": (2, 2), "natural, equal compute": (2 + 6, 2 + 6), "LAT": (2 + 4, 2 + 4 * 1.5)}
    seconds = [row["seconds"] for row in tuned.costs]
    assert min(seconds[1:]) > seconds[0] > 0


def test_the_natural_classifier_is_the_same_with_and_without(data, tuned):
    alone = train_all(ASKED | {"trainings": ["natural"]}, data, 0.1, progress=False).models["natural"]
    for expected, found in zip(alone.get_weights(), tuned.models["natural"].get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
