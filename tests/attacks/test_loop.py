"""The loop keeps the rules for methods that do not: through eager calls, tf.function, train_step and run_attack."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.attacks import loop
from locadv_tf.attacks.attack import Attack

N, SIDE, CLASSES, EPS = 12, 6, 3, 0.1
rng = np.random.default_rng(0)
IMAGE = rng.uniform(0, 1, (N, SIDE, SIDE, 1)).astype("float32")
IMAGE[:, :2] = rng.integers(0, 2, (N, 2, SIDE, 1))  # at the ends of the range, too
LABEL = rng.integers(0, CLASSES, N)
MASK = rng.integers(0, 2, IMAGE.shape).astype("float32")
MASK[0], MASK[1] = 0, 1


@keras.saving.register_keras_serializable("tests")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Careless(Attack):
    """Starts and steps out of the ball and onto the foreground, now and then to NaN, and keeps a field to itself."""

    steps: int = 5
    restarts: int = 2
    keep: str = "best"
    norm: str = "linf"
    stride: float = 7.0  # no number of the task: nobody was told of this field

    @property
    def name(self):
        return "careless"

    def step_size_at(self, eps):
        return 3.0 * eps

    def start(self, task):
        return task.image - 5.0 * task.eps

    def step(self, task, s, seen):
        there = s.x + self.stride * (tf.sign(seen.gradient) + 0.5)
        lost = tf.math.floormod(tf.range(SIDE, dtype=tf.float32), 3.0) == tf.math.floormod(s.k, 3.0)[..., None]
        lost = tf.broadcast_to(tf.reshape(lost, (-1, 1, SIDE, 1)), tf.shape(s.x))
        return tf.where(lost, tf.where(seen.loss[:, None, None, None] > 1.0, np.nan, np.inf), there), ()


POINTS = []


class AskedAt(keras.layers.Layer):
    """Passes images through and keeps those that an eager attack asked about."""

    def call(self, x):
        if tf.executing_eagerly():
            POINTS.append(x.numpy())
        return x


def classifier():
    keras.utils.set_random_seed(3)
    layers = [AskedAt(), keras.layers.Flatten(), keras.layers.Dense(8, "tanh"), keras.layers.Dense(CLASSES)]
    return keras.Sequential([keras.Input(IMAGE.shape[1:]), *layers])


def eagerly(model, attack):
    return attack(model, IMAGE, LABEL, mask=MASK, seed=1).numpy()


def in_a_function(model, attack):
    compiled = tf.function(lambda x, y, m: attack(model, x, y, mask=m, seed=1), autograph=False)
    return compiled(tf.constant(IMAGE), tf.constant(LABEL), tf.constant(MASK)).numpy()


def in_train_step(model, attack):
    """What `train_step` trained on: the batch that reached the classifier in training mode."""
    seen = []

    class Watched(keras.layers.Layer):
        def call(self, x, training=False):
            if training:
                tf.py_function(lambda x: seen.append(x.numpy()), [x], [])
            return x

    inputs = keras.Input(IMAGE.shape[1:])
    watched = keras.Model(inputs, model(Watched()(inputs)))
    defended = la.LocalizedAdversarialTraining(watched, attack=attack, share=1.0, seed=1)
    defended.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensor_slices(({"image": IMAGE, "mask": MASK}, LABEL)).batch(N)
    defended.fit(data, shuffle=False, verbose=0)
    return seen[0]


def in_run_attack(model, attack):
    return la.run_attack(model, (IMAGE, LABEL, MASK), attack, seed=1, stop="worst", batch_size=5).images


WAYS = [eagerly, in_a_function, in_train_step, in_run_attack]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_careless_method_keeps_every_rule(way, keep, norm):
    eps = EPS if norm == "linf" else 0.7
    attack = Careless(eps=eps, keep=keep, norm=norm, restarts=2 if keep == "best" else 1)
    x = way(classifier(), attack)
    assert x.shape == IMAGE.shape and np.isfinite(x).all()
    np.testing.assert_array_equal(x[MASK == 0], IMAGE[MASK == 0])  # rule 1, bit for bit
    change = np.abs(x - IMAGE).astype("float64")
    size = change.max(axis=(1, 2, 3)) if norm == "linf" else np.sqrt((change**2).sum(axis=(1, 2, 3)))
    assert (size <= eps * (1 + 1e-6) + 1e-7).all() and x.min() >= 0 and x.max() <= 1  # rule 2
    assert (size[1:] > 0).all()  # it did go somewhere, but where nothing is allowed


def test_every_point_on_the_way_keeps_the_rules():
    model = classifier()
    POINTS.clear()
    eagerly(model, Careless(eps=EPS))
    points = [x for x in POINTS[1:] if len(x) == N]
    assert len(points) >= 2 * (5 + 1)
    for x in points:
        np.testing.assert_array_equal(x[MASK == 0], IMAGE[MASK == 0])
        assert np.abs(x - IMAGE).max() <= EPS + 1e-6 and x.min() >= 0 and x.max() <= 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_budget_is_nothing_changed(way):
    np.testing.assert_array_equal(way(classifier(), Careless(eps=0.0)), IMAGE)


@pytest.mark.parametrize("way", [eagerly, in_a_function], ids=lambda way: way.__name__)
def test_without_a_step_the_start_is_all_and_that_is_projected(way):
    x = way(classifier(), Careless(eps=EPS, steps=0))
    assert (x[MASK == 0] == IMAGE[MASK == 0]).all() and 0 < np.abs(x - IMAGE).max() <= EPS + 1e-6


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_broken_steps_are_flagged_and_the_pixels_stay(way):
    """A method whose every step is NaN leaves the image where the start, projected, has put it."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Lost(Careless):
        def step(self, task, s, seen):
            return tf.fill(tf.shape(s.x), np.float32(np.nan)), ()

    x = way(classifier(), Lost(eps=EPS, keep="last", restarts=1))
    start = np.where(MASK == 1, (IMAGE - np.float32(EPS)).clip(0, 1), IMAGE)
    right = np.argmax(classifier()(IMAGE), axis=-1) == LABEL  # run_attack: where the model errs, the image competes
    np.testing.assert_allclose(x[right], start[right], rtol=0, atol=1e-7)
    assert 3 <= right.sum() < N
    result = la.run_attack(classifier(), (IMAGE, LABEL, MASK), Lost(eps=EPS), stop="worst")
    assert result.nonfinite.all()


def test_a_field_that_nobody_declared_is_part_of_what_is_compiled():
    """Two attacks that differ in it alone give what the eager calls give: no compiled step is mistaken for another."""
    model = classifier()
    for stride in (7.0, 0.01, 7.0):
        attack = Careless(eps=EPS, stride=stride, restarts=1)
        result = la.run_attack(model, (IMAGE, LABEL, MASK), attack, seed=1, stop="worst")
        right = result.natural_correct  # what is wrong by nature competes with the natural image
        np.testing.assert_allclose(result.images[right], eagerly(model, attack)[right], rtol=0, atol=1e-6)
    assert Careless(eps=EPS, stride=1.0).structure != Careless(eps=EPS, stride=2.0).structure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Narrow(la.PGD):
    """PGD with a field of its own, which its step reads beside the budget that it should take from the task."""

    width: float = 0.5

    def step(self, task, s, seen):
        raw, memory = super().step(task, s, seen)
        return s.x + self.width * (raw - s.x), memory


def test_a_subclass_with_a_new_field_has_a_structure_of_its_own():
    assert Narrow(eps=0.1, width=0.5).structure == Narrow(eps=0.2, steps=3, width=0.5).structure
    assert Narrow(eps=0.1, width=0.5).structure != Narrow(eps=0.1, width=0.25).structure
    model = classifier()
    for width in (0.5, 0.125):
        attack = Narrow(eps=EPS, steps=2, width=width)
        result = la.run_attack(model, (IMAGE, LABEL, MASK), attack, seed=1, stop="worst")
        right = result.natural_correct
        np.testing.assert_allclose(result.images[right], eagerly(model, attack)[right], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [la.PGD(eps=0.1), la.FGSM(eps=0.1), la.APGD(eps=0.1), la.Square(eps=0.1), la.RandomNoise(eps=0.1)],
    ids=lambda attack: attack.name,
)
def test_only_what_the_task_carries_is_left_out_of_a_structure(attack):
    """Every other field tells compiled steps apart; and the class does."""
    for field in dataclasses.fields(attack):
        other = {
            "norm": "l2", "loss": "margin", "keep": "last", "momentum": 0.5, "random_start": False, "eps": 0.05,
            "step_size": 0.03, "targets": 2, "start_share": 0.5,
        }.get(field.name, 3)  # fmt: skip
        changed = dataclasses.replace(attack, **{field.name: other})
        same = field.name in ("eps", "steps", "queries", "step_size", "restarts", "keep")
        assert (changed.structure == attack.structure) == same, field.name
    assert attack.structure != la.PGD(eps=0.0, loss="margin").structure


@pytest.mark.parametrize("attack", [la.PGD(eps=0.1, momentum=0.5), la.APGD(eps=0.1, targets=1)], ids=str)
def test_what_moves_holds_no_int32_numbers(attack):
    """A GPU adds those in the host's memory: at each step a counter would travel there and back."""
    label, nobody = tf.constant(LABEL), tf.zeros(N, tf.bool)
    key = loop.image_key(0, tf.range(N), 0)
    task = loop.Task(tf.constant(IMAGE), label, tf.constant(MASK) == 1, attack.eps, attack.alpha, 10.0, key)
    best = loop.Point(task.image, tf.zeros(N), nobody, nobody)
    model, clipped = classifier(), tf.zeros(N)
    s = loop.begin(attack, model, task, 0, best, clipped=clipped)
    for moving in (s, loop.advance(attack, model, task, s)):
        assert tf.int32 not in {part.dtype for part in tf.nest.flatten(moving)}
