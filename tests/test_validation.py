"""Bad input gets a `ValueError` before any work. It says what was passed, what was expected and what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.attacks import balls, losses

RNG = np.random.default_rng(0)
IMAGE = RNG.random((4, 6, 5, 3), "float32")
LABEL = np.array([0, 1, 2, 0])
MASK = (RNG.random((4, 6, 5, 1)) < 0.5).astype("float32")
PGD = la.PGD(eps=0.1, steps=2)


def classifier(*last, outputs=3):
    layers = keras.layers
    return keras.Sequential([keras.Input((6, 5, 3)), layers.Flatten(), layers.Dense(outputs), *last])


MODEL = classifier()
CALLS = {
    "FGSM": lambda image, label, mask, model=MODEL: la.FGSM(eps=0.1)(model, image, label, mask=mask),
    "PGD": lambda image, label, mask, model=MODEL: PGD(model, image, label, mask=mask),
    "noise": lambda image, label, mask, model=MODEL: la.RandomNoise(eps=0.1)(model, image, label, mask=mask),
    "run_attack": lambda image, label, mask, model=MODEL: la.run_attack(model, (image, label, mask), PGD),
    "evaluate": lambda image, label, mask, model=MODEL: la.evaluate(model, (image, label, mask), {"PGD": PGD}),
}
DATASETS = {
    "run_attack": lambda data: la.run_attack(MODEL, data, PGD),
    "evaluate": lambda data: la.evaluate(MODEL, data, {"PGD": PGD}),
}


def with_value(array, value):
    """The array with one entry replaced, in the last image: no check may look at the first ones only."""
    array = array.copy()
    array.flat[-1] = value
    return array


# Each case: images, labels, masks and what the message says.
DATA = {
    "images in 0-255": (IMAGE * 255, LABEL, MASK, r"values from \S+ to 25\S+; expected \[0, 1\]\. .*image / 255"),
    "normalized images": (IMAGE * 2 - 1, LABEL, MASK, r"expected \[0, 1\]\. Move the normalization into the model"),
    "integer images": ((IMAGE * 255).astype("uint8"), LABEL, MASK, r"dtype uint8; .*tf\.cast\(image, .*\) / 255"),
    "float64 images": (IMAGE.astype("float64"), LABEL, MASK, r"float64; expected float32.*tf\.cast\(image"),
    "float16 images": (IMAGE.astype("float16"), LABEL, MASK, r"float16; expected float32"),
    "NaN": (with_value(IMAGE, np.nan), LABEL, MASK, "image holds NaN"),
    "infinite": (with_value(IMAGE, np.inf), LABEL, MASK, "infinite"),
    "NCHW": (IMAGE.transpose(0, 3, 1, 2), LABEL, MASK, r"\(4, 3, 6, 5\).*NCHW.*tf\.transpose\(image, \[0, 2, 3, 1\]\)"),
    "images without channels": (IMAGE[..., 0], LABEL, MASK, r"\(4, 6, 5\); expected \(N, H, W, C\)"),
    "mask of another height": (IMAGE, LABEL, MASK[:, :5], r"mask has shape \(4, 5, 5, 1\); expected \(4, 6, 5, 1\)"),
    "mask without its last axis": (IMAGE, LABEL, MASK[..., 0], r"\(4, 6, 5\); expected .*mask\[\.\.\., None\]"),
    "mask of three channels": (IMAGE, LABEL, np.repeat(MASK, 3, -1), r"\(4, 6, 5, 3\); expected \(4, 6, 5, 1\)"),
    "mask in 0-255": (IMAGE, LABEL, MASK * 255, r"mask has values other than 0 and 1 \(like 255\).*Threshold"),
    "soft mask": (IMAGE, LABEL, with_value(MASK, 0.5), r"other than 0 and 1 \(like 0\.5\)"),
    "NaN mask": (IMAGE, LABEL, with_value(MASK, np.nan), r"other than 0 and 1 \(like nan\)"),
    "label out of range": (IMAGE, with_value(LABEL, 3), MASK, "from 0 to 3, out of range for the model's 3 classes"),
    "negative label": (IMAGE, with_value(LABEL, -1), MASK, "from -1 to 2, out of range"),
    "one-hot labels": (IMAGE, np.eye(3)[LABEL], MASK, r"which looks one-hot; .*tf\.argmax\(label, axis=-1\)"),
    "labels of shape (N, 1)": (IMAGE, LABEL[:, None], MASK, r"label has shape \(4, 1\); expected \(N,\)"),
    "float labels": (IMAGE, LABEL.astype("float32"), MASK, "label has dtype float32; expected integer classes"),
}
COUNTS = {
    "too few labels": (IMAGE, LABEL[:3], MASK, r"\(3,\); expected \(N,\) with N = 4|\[4, 3, 4\] entries"),
    "too few masks": (IMAGE, LABEL, MASK[:3], r"\(3, 6, 5, 1\); expected \(4, 6, 5, 1\)|\[4, 4, 3\] entries"),
}


@pytest.fixture
def no_work(monkeypatch):
    """Whoever starts to attack fails."""

    def work(*_, **__):
        raise AssertionError("work before the input was checked")

    for name in ("respond", "respond_with_gradient"):
        monkeypatch.setattr(losses, name, work)
    monkeypatch.setattr(balls, "random_point", work)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("image", "label", "mask", "message"), (DATA | COUNTS).values(), ids=DATA | COUNTS)
def test_bad_data(call, image, label, mask, message, no_work):
    with pytest.raises(ValueError, match=message):
        call(image, label, mask)


@pytest.mark.parametrize("call", DATASETS.values(), ids=DATASETS)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("name", DATA)
def test_bad_data_sets(call, batched, name, no_work):
    image, label, mask, message = DATA[name]
    data = tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label))
    if name in ("images without channels", "mask without its last axis", "labels of shape (N, 1)"):
        message = r"of rank \[.*expected a tf\.data\.Dataset of \({\"image\", \"mask\"}, label\)"
    with pytest.raises(ValueError, match=message):
        call(data.batch(4) if batched else data)


def test_tensors_are_looked_at_like_arrays(no_work):
    for image, label, mask, message in DATA.values():
        with pytest.raises(ValueError, match=message):
            PGD(MODEL, tf.constant(image), tf.constant(label), mask=tf.constant(mask))


@pytest.mark.parametrize("name", ["integer images", "float64 images", "NCHW", "images without channels",
                                  "mask of another height", "mask without its last axis", "one-hot labels",
                                  "float labels"])  # fmt: skip
def test_inside_a_graph_shapes_and_dtypes_are_checked(name):
    image, label, mask, message = DATA[name]
    with pytest.raises(ValueError, match=message):
        tf.function(lambda image, label, mask: PGD(MODEL, image, label, mask=mask))(image, label, mask)


def test_inside_a_graph_values_are_not():
    call = tf.function(lambda image, label: PGD(MODEL, image, label))
    graph = call.get_concrete_function(IMAGE, LABEL).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert not [node.op for node in nodes if "Assert" in node.op or "Check" in node.op or node.op == "PyFunc"]


@pytest.mark.parametrize("bad", [[3, 0, 0, 0], [-1, 0, 0, 0], np.eye(3)[LABEL]])
def test_bad_targets(bad, no_work):
    with pytest.raises(ValueError, match="target has"):
        PGD(MODEL, IMAGE, LABEL, target=np.array(bad))


# Models


def softmax_inside():
    """Softmax where no layer's name tells: in a function of the model's own."""
    inputs = keras.Input((6, 5, 3))
    return keras.Model(inputs, keras.ops.softmax(keras.layers.Dense(3)(keras.layers.Flatten()(inputs))))


MODELS = {
    "softmax activation": (classifier(keras.layers.Dense(3, activation="softmax")), r"softmax.*from_logits=True"),
    "softmax layer": (classifier(keras.layers.Softmax()), r"softmax.*Remove the last activation"),
    "softmax function": (softmax_inside(), "softmax"),
    "one output": (classifier(outputs=1), r"shape \(\d, 1\); expected logits .*two outputs"),
    "a map of outputs": (
        keras.Sequential([keras.Input((6, 5, 3)), keras.layers.Conv2D(2, 3)]),
        r"\(\d, 4, 3, 2\); expected logits \(N, classes\)",
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("model", "message"), MODELS.values(), ids=MODELS)
def test_bad_models(call, model, message, no_work):
    with pytest.raises(ValueError, match=message):
        call(IMAGE, LABEL, MASK, model=model)


@pytest.mark.parametrize("name", ["softmax activation", "softmax layer", "one output", "a map of outputs"])
def test_bad_models_inside_a_graph(name):
    model, message = MODELS[name]
    with pytest.raises(ValueError, match=message.replace(r"\d", "(None|4)")):
        tf.function(lambda image, label: PGD(model, image, label))(IMAGE, LABEL)


TOO_FEW_CLASSES = {
    "targets": (la.APGD(eps=0.1, targets=3), r"targets=3, the model has 3 classes; expected at most 2 targets"),
    "targets in an ensemble": (la.LocalizedAutoAttack(eps=0.1, loss="margin"), "targets=9, the model has 3 classes"),
    "dlr towards targets": (la.APGD(eps=0.1, targets=2, loss="dlr"), "needs 4 classes for a target, the model has 3"),
    "dlr in an ensemble": (la.LocalizedAutoAttack(eps=0.1, targets=2), "needs 4 classes .* use loss='margin'"),
}


@pytest.mark.parametrize(("attack", "message"), TOO_FEW_CLASSES.values(), ids=TOO_FEW_CLASSES)
def test_too_few_classes(attack, message, no_work):
    for call in (
        lambda: attack(MODEL, IMAGE, LABEL, mask=MASK),
        lambda: la.run_attack(MODEL, (IMAGE, LABEL, MASK), attack),
        lambda: attack.check_classes(3),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    attack.check_classes(10)


def test_too_few_classes_for_dlr(no_work):
    attack, two = la.PGD(eps=0.1, loss="dlr"), classifier(outputs=2)
    with pytest.raises(ValueError, match="needs 3 classes, the model has 2"):
        attack(two, IMAGE, LABEL % 2)
    with pytest.raises(ValueError, match="needs 4 classes for a target, the model has 3"):
        attack(MODEL, IMAGE, LABEL, target=(LABEL + 1) % 3)
    attack.check_classes(3)


@pytest.mark.parametrize("attack", [la.APGD(eps=0.1, targets=3), la.APGD(eps=0.1, targets=2, loss="dlr")], ids=str)
def test_too_few_classes_inside_a_graph(attack):
    with pytest.raises(ValueError, match="the model has 3"):
        tf.function(lambda image, label: attack(MODEL, image, label), autograph=False)(IMAGE, LABEL)


# Constructors and options

OPTIONS = {
    "negative eps": (lambda: la.FGSM(eps=-0.1), r"eps=-0\.1 is out of range; expected a number from 0 to 1"),
    "eps in grey levels": (lambda: la.PGD(eps=8), r"eps=8 .*8/255 is what you mean"),
    "eps of noise": (lambda: la.RandomNoise(eps=8), r"8/255 is what you mean"),
    "NaN eps": (lambda: la.FGSM(eps=float("nan")), "eps=nan"),
    "eps as text": (lambda: la.FGSM(eps="8/255"), "eps='8/255'"),
    "eps as truth": (lambda: la.FGSM(eps=True), "eps=True"),
    "no eps": (lambda: la.FGSM(eps=None), "eps=None"),
    "no steps": (lambda: la.PGD(eps=0.1, steps=0), "steps=0; expected a whole number, at least 1"),
    "negative steps": (lambda: la.PGD(eps=0.1, steps=-1), "steps=-1"),
    "half a step": (lambda: la.PGD(eps=0.1, steps=2.5), r"steps=2\.5"),
    "no restarts": (lambda: la.PGD(eps=0.1, restarts=0), "restarts=0"),
    "no draws": (lambda: la.RandomNoise(eps=0.1, restarts=0), "restarts=0"),
    "step size in grey levels": (lambda: la.PGD(eps=0.1, step_size=2), r"step_size=2 .*2/255"),
    "negative step size": (lambda: la.PGD(eps=0.1, step_size=-0.1), r"step_size=-0\.1"),
    "a step of no size": (lambda: la.PGD(eps=0.1, step_size=0.0), "step_size=0 leads nowhere; expected .* above 0"),
    "negative labels, a model unknown": (
        lambda: la.to_arrays((IMAGE, LABEL - 1, MASK)),
        r"classes from -1 to 1, out of range; expected none below 0 \(they are counted from 0\)",
    ),
    "unknown keep": (lambda: la.PGD(eps=0.1, keep="first"), "'first' is unknown; expected one of 'best', 'last'"),
    "restarts thrown away": (lambda: la.PGD(eps=0.1, restarts=2, keep="last"), "needs .* keep='best'"),
    "restarts repeated": (lambda: la.PGD(eps=0.1, restarts=2, random_start=False), "needs random_start=True"),
    "unknown region": (lambda: la.region_mask(MASK, "backgruond"), r"'backgruond' .*'background', 'foreground'"),
    "run_attack's region": (
        lambda: la.run_attack(MODEL, (IMAGE, LABEL, MASK), PGD, region="middle"),
        "region='middle' is unknown; expected one of 'background', 'foreground', 'full'",
    ),
    "evaluate's region": (
        lambda: la.evaluate(MODEL, (IMAGE, LABEL, MASK), {"PGD": PGD}, regions=("background", "middle")),
        "region='middle' is unknown",
    ),
    "run_attack's stop": (
        lambda: la.run_attack(MODEL, (IMAGE, LABEL, MASK), PGD, stop="early"),
        "stop='early' is unknown; expected one of 'fooled', 'worst'",
    ),
    "evaluate's stop": (
        lambda: la.evaluate(MODEL, (IMAGE, LABEL, MASK), {"PGD": PGD}, stop="early"),
        "stop='early' is unknown",
    ),
    "no batch size": (
        lambda: la.run_attack(MODEL, (IMAGE, LABEL, MASK), PGD, batch_size=0),
        "batch_size=0; expected a whole number, at least 1",
    ),
    "an attack without a name": (
        lambda: la.evaluate(MODEL, (IMAGE, LABEL, MASK), PGD),
        r"expected a dictionary from names to attacks, like \{'PGD'",
    ),
    "no masks": (lambda: la.run_attack(MODEL, (IMAGE, LABEL), PGD), "region='background' needs masks"),
    "no images": (
        lambda: la.evaluate(MODEL, (IMAGE[:0], LABEL[:0], MASK[:0]), {"PGD": PGD}),
        "holds no images; expected at least one",
    ),
    "data of another kind": (lambda: la.run_attack(MODEL, IMAGE, PGD), "data is ndarray; expected a tf.data.Dataset"),
    "a dictionary": (lambda: la.run_attack(MODEL, {"image": IMAGE, "label": LABEL}, PGD), "data is dict; expected a"),
    "no data": (lambda: la.run_attack(MODEL, None, PGD), "data is NoneType; expected a"),
    "images alone": (lambda: la.run_attack(MODEL, (IMAGE,), PGD), r"data is tuple of \(ndarray\); expected a"),
    "None for masks": (lambda: la.run_attack(MODEL, (IMAGE, LABEL, None), PGD), r"\(ndarray, ndarray, NoneType\); exp"),
    "nothing": (lambda: la.run_attack(MODEL, (), PGD), r"data is tuple of \(\); expected a"),
    "nested lists as a mask": (lambda: PGD(MODEL, IMAGE, LABEL, mask=(255 * MASK).tolist()), "mask has values other"),
    "data without labels": (
        lambda: la.run_attack(MODEL, tf.data.Dataset.from_tensor_slices(IMAGE), PGD),
        r"expected a tf\.data\.Dataset of",
    ),
    "endless data": (
        lambda: la.run_attack(MODEL, tf.data.Dataset.from_tensor_slices((IMAGE, LABEL)).repeat(), PGD, region="full"),
        r"repeats without end; .* Leave out repeat\(\), or add take",
    ),
}


@pytest.mark.parametrize(("call", "message"), OPTIONS.values(), ids=OPTIONS)
def test_bad_options(call, message, no_work):
    with pytest.raises(ValueError, match=message):
        call()


def test_bounds_themselves_are_good():
    for eps in (0, 1, 0.5, np.float32(0.1), np.float64(0.1)):
        assert la.FGSM(eps=eps).eps == float(eps)
    assert la.PGD(eps=0.1, steps=np.int64(3), step_size=1).alpha == 1
    assert la.PGD(eps=0, step_size=0).alpha == 0
    largest, smallest = (la.RandomNoise(eps=0.1)(MODEL, IMAGE, LABEL, seed=seed) for seed in (2**32 - 1, 0))
    assert not np.array_equal(largest, smallest)
    edges = np.zeros((1, 6, 5, 3), "float32")
    edges[0, 0] = 1.0
    assert PGD(MODEL, edges, np.array([2])).shape == edges.shape


@pytest.mark.parametrize("seed", [None, -1, 1.5, "0", True, 2**32])
def test_a_seed_is_a_whole_number(seed, tiny_model):
    x, y = np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, int)
    for run in (
        lambda: la.PGD(eps=0.1)(tiny_model(), x, y, seed=seed),
        lambda: la.run_attack(tiny_model(), (x, y), la.PGD(eps=0.1), region="full", seed=seed),
        lambda: la.LocalizedAdversarialTraining(tiny_model(), attack=la.FGSM(eps=0.1), seed=seed),
    ):
        with pytest.raises(ValueError, match=r"seed=.*; expected a whole number from 0 to"):
            run()


def test_a_mask_may_be_nested_lists():
    np.testing.assert_array_equal(PGD(MODEL, IMAGE, LABEL, mask=MASK.tolist()), PGD(MODEL, IMAGE, LABEL, mask=MASK))


def test_an_attack_is_an_object_and_there_is_at_least_one(tiny_model):
    data = np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, int)
    with pytest.raises(ValueError, match=r"expected an attack object, PGD\(eps=0.1\) say"):
        la.run_attack(tiny_model(), data, la.PGD, region="full")
    with pytest.raises(ValueError, match="expected a dictionary from names to attacks"):
        la.evaluate(tiny_model(), data, {}, regions=["full"])
