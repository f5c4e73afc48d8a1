"""FMN on classifiers whose smallest adversarial change is known, and beside bisection on a trained one."""

import keras
import numpy as np
import pytest

import locadv_tf as la

SIDE, CLASSES = 6, 3


@pytest.fixture(scope="module")
def linear():
    """Softmax regression: the distance to the nearest boundary can be written down."""
    weights = np.random.default_rng(0).normal(size=(SIDE * SIDE, CLASSES)).astype("float32")
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    model.set_weights([weights, -0.5 * weights.sum(axis=0)])  # all classes alike at 0.5
    return model, weights


def near(weights, n, seed=1):
    """Images in the middle of the range, their labels as the model says, and masks."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.45, 0.55, (n, SIDE, SIDE, 1)).astype("float32")
    mask = (rng.random(image.shape) < 0.7).astype("float32")
    return image, np.argmax((image.reshape(n, -1) - 0.5) @ weights, axis=1), mask


def distances(weights, image, label, allowed, norm):
    """The exact distance to the nearest boundary within the mask: gap / dual norm of the difference of weights."""
    found = []
    for x, y, free in zip(image.reshape(len(image), -1), label, allowed.reshape(len(image), -1), strict=True):
        slopes = [(weights[:, other] - weights[:, y]) * free for other in range(CLASSES) if other != y]
        gaps = [(x - 0.5) @ (weights[:, y] - weights[:, other]) for other in range(CLASSES) if other != y]
        size = (lambda s: np.abs(s).sum()) if norm == "linf" else np.linalg.norm
        found.append(min(gap / size(slope) for gap, slope in zip(gaps, slopes, strict=True)))
    return np.array(found)


@pytest.mark.parametrize("region", ["background", "foreground", "full"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_model_it_finds_the_distance_to_the_boundary(norm, region, linear):
    model, weights = linear
    image, label, mask = near(weights, 80)
    allowed = {"background": mask, "foreground": 1 - mask, "full": np.ones_like(mask)}[region]
    expected = distances(weights, image, label, allowed, norm)
    close = expected < (0.3 if norm == "linf" else 0.6)  # so that [0, 1] cuts nothing short
    assert close.sum() >= 10
    image, label, mask, expected = image[close], label[close], mask[close], expected[close]
    attack = la.FMN(eps=0.4 if norm == "linf" else 1.0, steps=200, norm=norm)
    found = la.smallest_eps(model, (image, label, mask), attack, region=region, batch_size=13)
    assert (found >= expected * 0.999).all()  # nothing smaller fools: the distance is exact
    assert np.isclose(found, expected, rtol=0.05, atol=2e-3).mean() >= 0.9  # a few end at another class's boundary


def test_what_is_returned_fools_at_the_size_that_is_returned(linear):
    model, weights = linear
    image, label, mask = near(weights, 20)
    attack = la.FMN(eps=0.3, steps=60)
    sizes = la.smallest_eps(model, (image, label, mask), attack)
    x = attack(model, image, label, mask=mask).numpy()
    np.testing.assert_allclose(np.abs(x - image).max(axis=(1, 2, 3)), sizes, atol=1e-6)
    np.testing.assert_array_equal(x[mask == 0], image[mask == 0])
    assert (np.argmax(model(x), axis=-1) != label).all()


def test_errors_without_an_attack_are_0_and_what_cannot_be_fooled_is_infinite(linear):
    model, weights = linear
    image, label, mask = near(weights, 9)
    label[:3] = (label[:3] + 1) % CLASSES
    mask[3:6] = 0
    found = la.smallest_eps(model, (image, label, mask), la.FMN(eps=0.3))
    assert (found[:3] == 0).all() and np.isinf(found[3:6]).all() and np.isfinite(found[6:]).all()
    assert np.isinf(la.smallest_eps(model, (image, label, mask), la.FMN(eps=1e-4))[6:]).all()


def test_it_agrees_with_bisection_with_fewer_gradients(natural_model, digits_test):
    some = digits_test.take(64)
    bisected = la.smallest_eps(natural_model, some, la.PGD(eps=0.5, steps=20), region="full")
    found = la.smallest_eps(natural_model, some, la.FMN(eps=0.5, steps=60), region="full")
    both = np.isfinite(bisected) & np.isfinite(found)
    assert both.mean() > 0.9
    assert np.median(found[both]) <= np.median(bisected[both]) + 1 / 255


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"gamma": 2.0}, "gamma=2"),
        ({"norm": "l1"}, "'l1' is unknown"),
        ({"eps": 2}, "eps=2"),
    ],
    ids=str,
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        la.FMN(**({"eps": 0.1} | change))
