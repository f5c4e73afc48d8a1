"""Backbones of keras.applications: preprocessing inside, seeds, attacks in pixel units, missing weights."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf import network
from locadv_tf.models import backbones

SHAPE = (32, 32, 3)


def images(n=3):
    return np.random.default_rng(0).random((n, *SHAPE), dtype=np.float32)


@pytest.fixture(scope="module")
def model():
    return la.pretrained("MobileNetV2", SHAPE, 5, weights=None)


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0"])  # a kind of preprocessing each
def test_preprocessing_is_that_of_the_backbone_and_inside(name, model):
    model = model if name == "MobileNetV2" else la.pretrained(name, SHAPE, 5, weights=None)
    as_published = {
        "MobileNetV2": keras.applications.mobilenet_v2,
        "ResNet50": keras.applications.resnet50,
        "EfficientNetB0": keras.applications.efficientnet,
    }[name].preprocess_input(255 * images())
    features = model.get_layer("backbone")(as_published, training=False)
    logits = model(images(), training=False)
    assert logits.shape == (3, 5) and logits.dtype == "float32"
    np.testing.assert_allclose(logits, model.layers[-1](features), rtol=1e-3, atol=1e-3 * np.std(logits))


def test_the_seed_decides_the_weights_and_leaves_the_global_one_alone(model):
    keras.utils.set_random_seed(5)
    expected = np.random.random()
    keras.utils.set_random_seed(5)
    again, other = (la.pretrained("MobileNetV2", SHAPE, 5, weights=None, seed=seed) for seed in (0, 1))
    assert np.random.random() == expected
    for a, b, c in zip(model.get_weights(), again.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.ptp(a) == 0 or (a != c).any()


@pytest.mark.slow
def test_it_is_saved_attacked_and_trained_in_two_stages(model, tmp_path):
    image, label, mask = images(4), np.arange(4), np.ones((4, 32, 32, 1), np.float32)
    model.save(tmp_path / "model.keras")
    model = la.models.load_classifier(tmp_path / "model.keras", input_shape=SHAPE)  # no code of ours, no lambda
    result = la.run_attack(model, (image, label, mask), la.PGD(eps=4 / 255, steps=2), region="full")
    assert 0 < np.abs(result.images - image).max() <= 4 / 255 + 1e-6

    data = tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label))
    backbone = model.get_layer("backbone")
    for stage, trainable in (("head", 0), ("top", 3)):
        for i, layer in enumerate(backbone.layers):  # one by one: backbone.trainable = True did not reach them
            layer.trainable = i >= len(backbone.layers) - trainable
        before = [weight.numpy().copy() for weight in backbone.weights]  # numpy() may share memory
        la.train_classifier(model, data, attack=la.FGSM(eps=0.01), share=0.5, epochs=1, batch_size=4)
        moved = [(old != new.numpy()).any() for old, new in zip(before, backbone.weights, strict=True)]
        assert any(moved) == (stage == "top") and not any(moved[:-6])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"name": "MobileNet2"}, "name='MobileNet2' is no backbone.*expected one such as 'MobileNetV2'"),
        ({"name": ["VGG16"]}, "is no backbone of keras.applications"),
        ({"input_shape": (32, 32, 1)}, r"has 1 channels; MobileNetV2 takes 3.*grayscale_to_rgb"),
        ({"input_shape": (16, 16, 3)}, r"images of shape \(16, 16, 3\): it cannot be built: .*at least 32x32"),
        ({"num_classes": 1}, "num_classes=1"),
        ({"weights": "cifar"}, "weights='cifar' is unknown"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(ValueError, match=message):
        la.pretrained(**({"name": "MobileNetV2", "input_shape": SHAPE, "num_classes": 5, "weights": None} | bad))


def test_weights_that_cannot_be_fetched_are_one_line_within_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(network, "PROBE", "http://127.0.0.1:9")  # nothing listens there
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"imagenet weights of MobileNetV2 are not in .*no network.*weights=None") as e:
        la.pretrained("MobileNetV2", SHAPE, 5)
    assert time.perf_counter() - start < 5 and "\n" not in str(e.value)


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise Exception("URL fetch failure on https://…: 404 -- Not Found\nand a page of text")

    monkeypatch.setattr(backbones, "answers", lambda: True)
    monkeypatch.setattr(keras.applications, "MobileNetV2", fails)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"MobileNetV2 .*: its weights could not be fetched: URL fetch .*Found$"):
        la.pretrained("MobileNetV2", SHAPE, 5)


def test_kept_weights_need_no_network(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(backbones, "answers", lambda: pytest.fail("the network was asked"))
    seen = {}

    def build(**options):
        seen.update(options)
        raise Exception("enough")

    monkeypatch.setattr(keras.applications, "MobileNetV2", build)
    with pytest.raises(ValueError, match="enough"):
        la.pretrained("MobileNetV2", SHAPE, 5)
    assert seen["weights"] == "imagenet" and seen["input_shape"] == SHAPE
