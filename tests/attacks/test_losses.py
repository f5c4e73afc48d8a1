"""What attacks climb, against NumPy: margins, DLR, the ranking of wrong classes, and what a model's response holds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.attacks import losses

TWO_OR_MORE, THREE_OR_MORE, FOUR_OR_MORE = (st.integers(low, 6) for low in (2, 3, 4))


@st.composite
def some_logits(draw, classes=TWO_OR_MORE):
    """Logits (N, classes), ties among them, with a label and another class to aim at for each."""
    n, k = draw(st.integers(1, 6)), draw(classes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from((1e-2, 1.0, 1e2)))
    logits = draw(st.sampled_from((rng.normal(size=(n, k)), rng.integers(-2, 3, (n, k))))) * scale
    label = rng.integers(0, k, n)
    return logits.astype("float32"), label, (label + rng.integers(1, k, n)) % k


def loop_margin(z, y):
    """max_{i ≠ y} z_i − z_y"""
    return max(z_i for i, z_i in enumerate(z) if i != y) - z[y]


def loop_dlr(z, y, t=None):
    ordered = sorted(map(float, z), reverse=True)
    if t is None:
        return loop_margin(z, y) / (ordered[0] - ordered[2] + 1e-12)
    return (z[t] - z[y]) / (ordered[0] - (ordered[2] + ordered[3]) / 2 + 1e-12)


@given(case=some_logits())
def test_margin_is_carlini_and_wagners(case):
    logits, label, aim = case
    away = losses.margin(logits, label).numpy()
    towards = losses.margin(logits, label, aim).numpy()
    np.testing.assert_allclose(away, [loop_margin(z, y) for z, y in zip(logits, label, strict=True)], rtol=1e-6)
    np.testing.assert_allclose(towards, [-loop_margin(z, t) for z, t in zip(logits, aim, strict=True)], rtol=1e-6)


@given(case=some_logits(FOUR_OR_MORE))
def test_dlr_is_croce_and_heins(case):
    logits, label, aim = case
    away, towards = losses.dlr(logits, label).numpy(), losses.dlr(logits, label, aim).numpy()
    np.testing.assert_allclose(away, [loop_dlr(z, y) for z, y in zip(logits, label, strict=True)], rtol=1e-4)
    pairs = list(zip(logits, label, aim, strict=True))
    np.testing.assert_allclose(towards, [loop_dlr(*each) for each in pairs], rtol=1e-4)


@given(case=some_logits(FOUR_OR_MORE), factor=st.sampled_from((2.0**-6, 2.0, 2.0**10)), shift=st.integers(-8, 8))
def test_dlr_is_blind_to_the_logits_scale_and_place_where_cross_entropy_is_not(case, factor, shift):
    logits, label, aim = case
    logits = logits / np.abs(logits).max() + np.arange(logits.shape[1], dtype="float32")  # no ties
    moved = np.float32(factor) * logits + np.float32(shift)
    for towards in (None, aim):
        expected = losses.dlr(logits, label, towards)
        np.testing.assert_allclose(losses.dlr(moved, label, towards), expected, rtol=1e-3, atol=1e-4)
    values = [tf.nn.sparse_softmax_cross_entropy_with_logits(label, z).numpy() for z in (logits, moved)]
    assert (np.abs(values[1] - values[0]) > 1e-3).any()


@given(case=some_logits(THREE_OR_MORE))
def test_untargeted_dlr_is_positive_where_the_model_errs_and_never_below_minus_1(case):
    logits, label, _ = case
    dlr, margin = losses.dlr(logits, label).numpy(), losses.margin(logits, label).numpy()
    np.testing.assert_array_equal(np.sign(dlr), np.sign(margin))
    assert dlr.min() >= -1 - 1e-6


@pytest.mark.parametrize(("classes", "aimed", "needed"), [(2, False, 3), (2, True, 4), (3, True, 4)])
def test_dlr_of_too_few_classes_is_refused_and_margin_named(classes, aimed, needed):
    logits, label = tf.zeros((2, classes)), tf.constant([0, 1], tf.int64)
    aim = 1 - label if aimed else None
    with pytest.raises(ValueError, match=f"needs {needed} classes.*the model has {classes}; use loss='margin'"):
        losses.dlr(logits, label, aim)
    assert losses.margin(logits, label, aim).shape == 2


@given(case=some_logits())
def test_likely_wrong_goes_through_all_wrong_classes_the_largest_logit_first(case):
    logits, label, _ = case
    ranks = range(logits.shape[1] - 1)
    found = np.stack([losses.likely_wrong(logits, label, rank).numpy() for rank in ranks], axis=1)
    for z, y, classes in zip(logits, label, found, strict=True):
        wrong = [i for i in range(len(z)) if i != y]
        assert classes.tolist() == sorted(wrong, key=lambda i: (-z[i], i))
    each = np.arange(len(label)) % len(ranks)  # a rank for each image, as in the engine
    np.testing.assert_array_equal(losses.likely_wrong(logits, label, each), found[np.arange(len(label)), each])


# The response of a model; here the image is the logits


def logits_themselves(x, training):
    assert training is False
    return x[:, 0, 0, :]


@given(case=some_logits(FOUR_OR_MORE), climb=st.sampled_from(losses.LOSSES), targeted=st.booleans(),
       aimed=st.booleans())  # fmt: skip
def test_a_response_judges_by_cross_entropy_and_climbs_what_it_is_told(case, climb, targeted, aimed):
    logits, label, other = case
    target, aim = (other if targeted else None), (np.roll(other, 1) if aimed else None)
    seen = losses.respond_with_gradient(
        logits_themselves, tf.constant(logits[:, None, None]), tf.constant(label), target, climb=climb, aim=aim
    )
    z = logits.astype("float64")
    share = np.exp(z - z.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)

    def cross_entropy(classes):
        return -np.log(np.maximum(share[np.arange(len(label)), classes], 1e-300))

    np.testing.assert_allclose(
        seen.loss, -cross_entropy(target) if targeted else cross_entropy(label), rtol=1e-3, atol=1e-5
    )
    predicted = logits.argmax(axis=1)
    np.testing.assert_array_equal(seen.fooled, predicted == target if targeted else predicted != label)
    towards = aim if aimed else target
    if climb == "cross-entropy":
        value = cross_entropy(label) if towards is None else -cross_entropy(towards)
        gradient = (share - np.eye(logits.shape[1])[label if towards is None else towards]) * (
            1 if towards is None else -1
        )
        scaled = losses.GRADIENT_SCALE * gradient[:, None, None]
        np.testing.assert_allclose(seen.gradient, scaled, rtol=1e-3, atol=1e-2)
    else:
        value = getattr(losses, climb)(logits, label, towards)
    np.testing.assert_allclose(seen.value, value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("climb", "weight", "bias"),
    [
        ("cross-entropy", 1e-3, 12),  # a probability of about 6e-6 left
        ("margin", 5e-9, 12),  # weights as of a normalization that divides by large numbers
        ("dlr", 1e-3, 1e5),  # logits so large that their ratio hardly moves
    ],
)
def test_9_gradients_survive_float16(climb, weight, bias):
    """All weights speak for class 0; without the scale float16 rounds their gradient, below half of 6e-8, to zero."""
    rng = np.random.default_rng(0)
    image, label = rng.uniform(0.4, 0.6, (2, 6, 6, 1)).astype("float32"), tf.constant([0, 0], tf.int64)
    towards = rng.uniform(0.5 * weight, 1.5 * weight, (36, 1))
    weights = [
        np.ones((1, 1, 1, 1)),
        np.zeros(1),
        np.hstack([towards, -towards, -towards]),
        bias * np.array([1, 0, -1]),
    ]
    layers, signs = keras.layers, {}
    for policy in ("float32", "mixed_float16"):
        conv, flat = layers.Conv2D(1, 1, dtype=policy), layers.Flatten(dtype=policy)
        model = keras.Sequential([keras.Input((6, 6, 1)), conv, flat, layers.Dense(3, dtype="float32")])
        model.set_weights(weights)
        gradient = losses.respond_with_gradient(model, tf.constant(image), label, climb=climb).gradient.numpy()
        assert np.abs(gradient).max() / losses.GRADIENT_SCALE < 3e-8
        signs[policy] = np.sign(gradient)
    assert (signs["float32"] == -1).all()
    np.testing.assert_array_equal(signs["mixed_float16"], signs["float32"])


@pytest.mark.parametrize(
    ("climb", "gain", "gap"),
    [
        ("cross-entropy", 100.0, 1.0),  # a layer whose gain takes 2**12 beyond float16's 65504
        ("dlr", 1.0, 1e-3),  # logits so close that their ratio's gradient is 1,000
        ("dlr", 100.0, 1e-2),
        ("margin", 100.0, 1.0),
    ],
)
def test_9_gradients_do_not_overflow_in_float16(climb, gain, gap):
    image, label = np.full((2, 6, 6, 1), 0.5, "float32"), tf.constant([0, 0], tf.int64)
    towards = np.random.default_rng(0).uniform(0.5, 1.5, (36, 1)) * gap / 36 / gain
    bias = gap * np.array([1, 0, -1])
    weights = [np.full((1, 1, 1, 1), gain), np.zeros(1), np.hstack([towards, 0 * towards, 0 * towards]), bias]
    layers, found = keras.layers, {}
    for policy in ("float32", "mixed_float16"):
        conv, flat = layers.Conv2D(1, 1, dtype=policy), layers.Flatten(dtype=policy)
        model = keras.Sequential([keras.Input((6, 6, 1)), conv, flat, layers.Dense(3, dtype="float32")])
        model.set_weights(weights)
        found[policy] = losses.respond_with_gradient(model, tf.constant(image), label, climb=climb).gradient.numpy()
    assert (found["float32"] != 0).all()
    np.testing.assert_allclose(found["mixed_float16"], found["float32"], rtol=0.02)


def test_the_scale_of_one_images_gradient_leaves_the_others_alone():
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(3, 1, 1, 4)).astype("float32"), tf.constant([0, 1, 2], tf.int64)
    extreme = np.concatenate([logits, np.float32([[[[80, 0, 0, 0]]], [[[np.nan, 0, 0, 0]]], [[[0, 0, 0, 0]]]])])
    alone = losses.respond_with_gradient(logits_themselves, tf.constant(logits), label).gradient
    among = losses.respond_with_gradient(
        logits_themselves, tf.constant(extreme), tf.concat([label, tf.zeros(3, tf.int64)], axis=0)
    ).gradient.numpy()
    np.testing.assert_array_equal(among[:3], alone)
    assert (among[3, 0, 0, 1:] > 0).all()  # probabilities of 1e-35
    assert np.isnan(among[4]).any() and np.isfinite(among[5]).all()


def test_a_point_whose_logits_are_not_numbers_fools_but_hits_no_target():
    x = tf.fill((2, 1, 1, 3), np.float32("nan"))
    label = tf.constant([0, 1], tf.int64)  # class 0 is what argmax makes of NaN
    assert losses.respond(logits_themselves, x, label).fooled.numpy().all()
