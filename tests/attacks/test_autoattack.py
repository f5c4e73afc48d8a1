"""LocalizedAutoAttack: its members, its budgets, and that it is at least as strong as each of them."""

import keras
import numpy as np
import pytest

import locadv_tf as la
from locadv_tf.attacks.autoattack import BUDGETS


@pytest.fixture(scope="module")
def model():
    """A classifier of four classes that withstands a small attack now and then."""
    layers, init = keras.layers, keras.initializers.HeNormal
    hidden = layers.Dense(16, activation="relu", kernel_initializer=init(0))
    return keras.Sequential(
        [keras.Input((6, 5, 1)), layers.Flatten(), hidden, layers.Dense(4, kernel_initializer=init(1))]
    )


@pytest.fixture(scope="module")
def data(model):
    """`(images, labels, masks)`, a tenth of the labels wrong."""
    rng = np.random.default_rng(0)
    image = rng.random((60, 6, 5, 1), "float32")
    label = model(image, training=False).numpy().argmax(axis=-1)
    return image, np.where(rng.random(60) < 0.1, (label + 1) % 4, label), rng.random(image.shape) < 0.7


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("standard", ["APGD-100", "APGD-100 (dlr)", "APGD-100 (dlr, 9 targets)", "Square-5000"]),
        ("fast", ["APGD-20", "APGD-20 (dlr)", "APGD-10 (dlr, 9 targets)", "Square-500"]),
        ("smoke", ["APGD-5", "APGD-5 (dlr)", "APGD-2 (dlr, 9 targets)", "Square-50"]),
    ],
)
def test_members(budget, expected):
    attack = la.LocalizedAutoAttack(eps=0.1, budget=budget)
    assert [member.name for member in attack.members] == expected
    assert {member.eps for member in attack.members} == {0.1}
    assert {member.norm for member in attack.members} == {"linf"}
    ce, dlr, targeted, queries = BUDGETS[budget]
    assert attack.steps == ce + dlr + 9 * targeted + queries


def test_for_few_classes_margin_takes_the_place_of_dlr():
    attack = la.LocalizedAutoAttack(eps=0.1, targets=2, loss="margin")
    assert [member.loss for member in attack.members] == ["cross-entropy", "margin", "margin", "margin"]
    assert [getattr(member, "targets", 0) for member in attack.members] == [0, 0, 2, 0]


@pytest.mark.parametrize("loss", ["dlr", "margin"])
def test_it_comes_back_from_its_config(loss):
    attack = la.LocalizedAutoAttack(eps=0.1, budget="fast", targets=3, loss=loss)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(attack))
    assert again == attack and again.members == attack.members
    assert type(attack).from_config(attack.get_config()) == attack


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "slow"}, "budget='slow' is unknown; expected one of 'standard', 'fast'"),
        ({"targets": 0}, "targets=0; expected a whole number, at least 1"),
        ({"loss": "cross-entropy"}, "loss='cross-entropy' is unknown; expected one of 'dlr', 'margin'"),
        ({"eps": 8}, "8/255 is what you mean"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        la.LocalizedAutoAttack(**{"eps": 0.1} | options)


def test_too_many_targets_or_too_few_classes_are_refused(model, data, tiny_model):
    with pytest.raises(ValueError, match=r"targets=9, the model has 4 classes; expected at most 3"):
        la.run_attack(model, data, la.LocalizedAutoAttack(eps=0.01, budget="fast"))
    image, label = np.zeros((2, 6, 5, 1), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match=r"needs 4 classes for a target, the model has 3; use loss='margin'"):
        la.LocalizedAutoAttack(eps=0.1, budget="fast", targets=2)(tiny_model(), image, label)


@pytest.mark.parametrize("stop", ["fooled", "worst"])
def test_it_is_at_least_as_strong_as_each_of_its_members(stop, model, data):
    attack = la.LocalizedAutoAttack(eps=0.03, budget="fast", targets=3)
    whole = la.run_attack(model, data, attack, stop=stop)
    alone = [la.run_attack(model, data, member, stop=stop) for member in attack.members]
    assert 0.2 < whole.fooled.mean() < 0.9
    # The first member meets the same random numbers alone as in the ensemble, the others meet other ones.
    assert (whole.fooled >= alone[0].fooled).all()
    assert whole.fooled.sum() >= max(result.fooled.sum() for result in alone)
    if stop == "worst":  # nobody leaves: all is spent on all
        same = whole.natural_correct & (whole.fooled == alone[0].fooled)  # a point that fools may have the lower loss
        assert (whole.loss[same] >= alone[0].loss[same] - 1e-4).all()
        assert whole.gradient_evaluations == 60 * (20 + 20 + 3 * 10) and whole.queries == 60 * 500
    else:  # each member sees the survivors only
        survivors = np.sum(~alone[0].fooled)
        assert whole.queries <= survivors * 500 and whole.queries >= np.sum(~whole.fooled) * 500
        assert whole.gradient_evaluations <= alone[0].gradient_evaluations + survivors * (20 + 3 * 10)
