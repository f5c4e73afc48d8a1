"""The example in one file: it is short, needs no kit, keeps the attack's rules, and ends at the kit's weights."""

import ast
import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la

FILE = pathlib.Path(__file__).resolve().parents[1] / "examples" / "localized_adversarial_training.py"
EPS, STEPS, SHARE = 0.1, 3, 0.5
N = 301  # four batches of 64 and one of 45, of which 22.5 images are to be attacked


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def telltale(seed):
    """A network that shows whether an attack ran in training mode: batch normalization and dropout differ there."""
    first, last = (keras.initializers.HeNormal(seed=10 * seed + layer) for layer in range(2))
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(8, 5, strides=4, activation="relu", kernel_initializer=first),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=seed),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=last),
        ]
    )


@pytest.fixture(scope="module")
def model():
    return telltale(2)


def columns(data):
    """`image, mask, label` of an unbatched data set, as arrays."""
    inputs, label = next(iter(data.batch(len(data))))
    return inputs["image"].numpy(), inputs["mask"].numpy(), label.numpy()


def fit(model, image, mask, label):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss=loss, metrics=["accuracy"])
    inputs = {"image": image, "mask": mask}
    return model.fit(inputs, label, batch_size=64, epochs=2, shuffle=False, verbose=0).history


def loss_of(model, image, label):
    return float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(label, model(image, training=False)))


def test_training_ends_at_the_weights_of_the_kit(example, digits_train):
    image, mask, label = columns(digits_train.take(N))
    ours, theirs, start = telltale(1), telltale(1), telltale(1).get_weights()

    defended = example.LocalizedAdversarialTraining(ours, eps=EPS, steps=STEPS, share=SHARE)
    logs = fit(defended, image, example.background_mask(image), label)
    attack = la.PGD(eps=EPS, steps=STEPS, random_start=False, keep="last")
    kit = la.LocalizedAdversarialTraining(theirs, attack=attack, region="background", share=SHARE)
    kit_logs = fit(kit, image, mask, label)

    for first, a, b in zip(start, ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
        assert np.abs(a - first).max() > 2e-3
    np.testing.assert_allclose(logs["accuracy"], kit_logs["accuracy"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_images_and_masks_are_those_of_the_kit(example, split, request):
    image, mask, label = columns(request.getfixturevalue(f"digits_{split}"))
    x, y = example.load_images()[split]
    assert x.dtype == np.float32 and y.dtype == np.int64
    np.testing.assert_array_equal(x, image)
    np.testing.assert_array_equal(y, label)
    np.testing.assert_array_equal(example.background_mask(x), mask)


@pytest.mark.parametrize(("eps", "steps"), [(0.1, 1), (0.1, 7), (0.5, 4), (1.0, 3)])
def test_the_attack_keeps_its_rules(example, model, digits_test, eps, steps):
    image, mask, label = columns(digits_test.take(100))
    adversarial = example.background_pgd(model, tf.constant(image), label, mask, eps=eps, steps=steps).numpy()
    np.testing.assert_array_equal(adversarial[mask == 0], image[mask == 0])
    assert np.abs(adversarial - image).max() <= eps + 1e-7
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert loss_of(model, adversarial, label) > loss_of(model, image, label)


def test_the_attack_is_that_of_the_kit(example, model, digits_test):
    image, mask, label = columns(digits_test.take(100))
    adversarial = example.background_pgd(model, tf.constant(image), label, mask, eps=EPS, steps=10).numpy()
    attack = la.PGD(eps=EPS, steps=10, random_start=False, keep="last")
    expected = attack(model, image, label, mask=mask).numpy()
    assert np.mean(np.abs(adversarial - expected) > 1e-6) < 1e-3  # a gradient of nearly 0 may round to the other sign


def test_no_budget_or_no_background_changes_nothing(example, model, digits_test):
    image, mask, label = columns(digits_test.take(10))
    for m, eps in ((mask, 0.0), (np.zeros_like(mask), 0.1)):
        adversarial = example.background_pgd(model, tf.constant(image), label, m, eps=eps, steps=2)
        np.testing.assert_array_equal(adversarial, image)


def test_the_file_is_short_and_needs_no_kit():
    text = FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 300
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports and not [node.lineno for node in imports if "locadv" in ast.unparse(node)]


def test_it_runs_from_start_to_end(example, capsys):
    rows = example.main(epochs=1, images=64)
    assert list(rows) == ["natural", "LAT"]
    for row in rows.values():
        assert 0 <= row["adversarial accuracy"] <= 1 and 0 <= row["natural accuracy"] <= 1
        assert row["adversarial loss"] >= row["natural loss"] > 0
    printed = capsys.readouterr().out
    assert "PGD-20 on the background, eps = 25.5/255. 64 test images, seed 0." in printed
    assert "One seed proves nothing" in printed


def test_the_interval_is_wilsons(example):
    from statsmodels.stats.proportion import proportion_confint

    for right, n in ((0, 10), (9, 10), (334, 400), (400, 400)):
        np.testing.assert_allclose(
            example.interval(right / n, n), proportion_confint(right, n, method="wilson"), atol=1e-4
        )
