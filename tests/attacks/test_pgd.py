"""The rules that every attack keeps (DESIGN.md), numbered as there, over generated images, masks and budgets."""

import dataclasses
import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

import locadv_tf as la
from locadv_tf.attacks import balls, loop, losses
from locadv_tf.attacks.attack import Attack
from locadv_tf.attacks.losses import respond_with_gradient

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
MASKS = ("bool", "uint8", "int32", "float32")
# What runs compiled: one trace each, so a table instead of generated attacks. Attack, channels, policy, targeted.
COMPILED = [
    (la.FGSM(eps=8 / 255), 1, "float32", False),
    (la.FGSM(eps=1.0), 3, "mixed_float16", False),
    (la.FGSM(eps=0.0), 3, "float32", True),
    (la.PGD(eps=0.1, steps=3), 1, "float32", False),
    (la.PGD(eps=0.3, steps=2, step_size=0.5, random_start=False, keep="last"), 3, "mixed_float16", False),
    (la.PGD(eps=1.0, steps=2, restarts=2), 1, "float32", True),
    (la.PGD(eps=0.0, steps=2, restarts=2), 1, "mixed_float16", False),
    (la.PGD(eps=0.1, steps=2), 3, "mixed_bfloat16", False),
    (la.RandomNoise(eps=0.1), 1, "mixed_float16", False),
    (la.RandomNoise(eps=1.0, restarts=3), 3, "float32", True),
    (la.FGSM(eps=2.0, norm="l2"), 3, "mixed_float16", False),
    (la.PGD(eps=1.5, steps=3, restarts=2, norm="l2", loss="margin", momentum=0.9), 1, "float32", True),
    (la.APGD(eps=0.1, steps=6, loss="margin", targets=2), 1, "float32", False),
    (la.APGD(eps=1.0, steps=4, loss="dlr", restarts=2, norm="l2"), 3, "mixed_float16", False),
    (la.Square(eps=0.3, queries=8, restarts=2), 3, "float32", True),
    (la.LocalizedAutoAttack(eps=0.1, budget="fast", targets=2, loss="margin"), 1, "float32", False),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """One call of an attack: all that a rule can depend on."""

    attack: Attack
    channels: int
    policy: str
    compiled: bool
    image: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    target: np.ndarray | None
    seed: int

    @property
    def free(self):
        """Where the attack may change the image, `(N, H, W, C)`."""
        return np.broadcast_to(self.mask.astype(bool), self.image.shape)

    def run(self, model):
        if self.compiled:
            target = self.label if self.target is None else self.target
            call = compiled_call(model, self.attack, self.channels, self.target is not None)
            return call(self.image, self.label, self.mask, self.seed, target).numpy()
        options = {"mask": self.mask, "seed": self.seed, "target": self.target}
        return self.attack(model, self.image, self.label, **options).numpy()

    def assert_kept(self, x):
        """Rules 1 and 2 for any point on the attack's way."""
        assert x.dtype == np.float32 and x.shape == self.image.shape
        np.testing.assert_array_equal(x.view(np.uint32)[~self.free], self.image.view(np.uint32)[~self.free])
        change, eps, rounding = x.astype(np.float64) - self.image, np.float32(self.attack.eps), 2.0**-24
        if self.attack.norm == "l2":  # each pixel is rounded, and so is the length that the change is divided by
            length = np.sqrt(np.square(change).sum(axis=(1, 2, 3)))
            assert length.max() <= eps * (1 + 1e-6) + rounding * np.sqrt(change[0].size)
        else:
            assert np.abs(change).max() <= eps + rounding  # half a unit in the last place of 1
        assert x.min(initial=0) >= 0 and x.max(initial=1) <= 1


@functools.cache
def compiled_call(model, attack, channels, targeted):
    """An attack inside a `tf.function`, for any number and size of images."""
    images, classes = tf.TensorSpec((None, None, None, channels)), tf.TensorSpec((None,), tf.uint8)
    masks, seed = tf.TensorSpec((None, None, None, 1), tf.bool), tf.TensorSpec((), tf.int64)

    @tf.function(input_signature=[images, classes, masks, seed, classes])
    def call(image, label, mask, seed, target):
        return attack(model, image, label, mask=mask, seed=seed, target=target if targeted else None)

    return call


@st.composite
def any_attack(draw):
    kind = draw(st.sampled_from((la.FGSM, la.PGD, la.RandomNoise, la.APGD, la.Square)))
    options = {}
    if kind in (la.FGSM, la.PGD, la.APGD):
        options["norm"] = draw(st.sampled_from(balls.NORMS))
    high = 10.0 if options.get("norm") == "l2" else 1.0
    options["eps"] = draw(st.sampled_from((0.0, 1 / 255, 0.1, 0.7, high)) | st.floats(0, high))
    if kind in (la.PGD, la.APGD):
        options |= {"steps": draw(st.integers(1, 4)), "loss": draw(st.sampled_from(losses.LOSSES))}
    if kind is la.PGD:
        options |= {
            "step_size": draw(st.none() | st.floats(0, high, exclude_min=True)),
            "momentum": draw(st.sampled_from((0.0, 0.9))),
        }
        options |= {"random_start": draw(st.booleans()), "keep": draw(st.sampled_from(("best", "last")))}
    if kind is la.APGD and options["loss"] != "dlr":  # which needs four classes for a target
        options["targets"] = draw(st.integers(0, 2))
    if kind is la.Square:
        options |= {"queries": draw(st.integers(1, 8)), "start_share": draw(st.floats(0, 1))}
    if kind is not la.FGSM and options.get("random_start", True) and options.get("keep", "best") == "best":
        options["restarts"] = draw(st.integers(1, 3))
    return kind(**options)


def may_have_a_target(attack):
    """One that a caller names, with the three classes of the tiny model."""
    return not getattr(attack, "targets", 0) and attack.loss != "dlr"


@st.composite
def cases(draw, attack=None, compiled=None):
    compiled = draw(st.booleans()) if compiled is None else compiled
    if compiled:
        attack, channels, policy, targeted = draw(st.sampled_from(COMPILED))
        label_dtype, mask_dtype = "uint8", "bool"
    else:
        attack, channels = draw(any_attack() if attack is None else attack), draw(st.sampled_from((1, 3)))
        policy = draw(st.sampled_from(("float32", "mixed_float16")))
        targeted = may_have_a_target(attack) and draw(st.booleans())
        label_dtype, mask_dtype = draw(st.sampled_from(INTEGERS)), draw(st.sampled_from(MASKS))
    n, height, width = draw(st.integers(1, 5)), draw(st.integers(4, 9)), draw(st.integers(4, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from((2, 256)))  # 2: half of all steps lead out of [0, 1]
    image = (rng.integers(0, levels, (n, height, width, channels)) / (levels - 1)).astype("float32")
    share = draw(st.sampled_from((0.0, 0.5, 1.0)))
    mask = rng.random((n, height, width, 1)) < share
    # "Bit for bit" is more than "equal": outside the mask there are negative zeros and subnormal numbers, too.
    odd = ~mask & (rng.random(mask.shape) < 0.2)
    image = np.where(odd, rng.choice(np.float32([-0.0, 1e-40]), image.shape), image)
    label, target = rng.integers(0, 3, (2, n)).astype(label_dtype)
    return Case(
        attack, channels, policy, compiled, image, label, mask.astype(mask_dtype), target if targeted else None,
        seed=draw(st.integers(0, 2**31 - 1)),
    )  # fmt: skip


def cross_entropy(logits, label):
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, label[:, None].astype(int), 1)[:, 0]


def bits(x):
    return np.asarray(x).view(np.uint32)


# Rules 1 and 2


@settings(max_examples=examples(60))
@given(case=cases())
def test_1_2_keeps_mask_budget_and_range(case, tiny_model):
    case.assert_kept(case.run(tiny_model(case.channels, case.policy)))


@pytest.mark.parametrize(
    "attack",
    [
        la.FGSM(eps=0.1),
        la.PGD(eps=0.1, steps=2),
        la.PGD(eps=1.0, steps=2, norm="l2", momentum=0.9),
        la.RandomNoise(eps=0.1),
        la.APGD(eps=0.1, steps=2, targets=2),
        la.Square(eps=0.1, queries=3),
    ],
    ids=str,
)
def test_without_a_mask_the_whole_image_is_attacked(attack, tiny_model):
    rng = np.random.default_rng(0)
    image, label = rng.random((3, 6, 5, 1), "float32"), np.array([0, 1, 2])
    everywhere = attack(tiny_model(), image, label, mask=np.ones((3, 6, 5, 1)))
    np.testing.assert_array_equal(attack(tiny_model(), image, label), everywhere)
    assert (everywhere.numpy() != image).mean() > 0.9


@pytest.mark.parametrize("attack", [la.PGD(eps=0.1), la.APGD(eps=0.1, steps=2), la.Square(eps=0.1, queries=2)], ids=str)
def test_no_images_are_no_problem(attack, tiny_model):
    nothing = np.zeros((0, 6, 5, 1), "float32")
    assert attack(tiny_model(), nothing, np.zeros(0, int)).shape == nothing.shape


# Rule 3 (batch slices: test_stream.py)


@given(case=cases(compiled=False))
def test_3_every_point_that_the_model_sees_keeps_mask_budget_and_range(case, spy_on, tiny_model):
    spy = spy_on(tiny_model(case.channels, case.policy))
    case.run(spy)
    for x, _, _ in spy.points:
        case.assert_kept(x)


# Rule 4


@given(case=cases(), empty=st.booleans())
def test_4_no_budget_or_no_mask_returns_the_input(case, empty, tiny_model):
    if empty or case.attack.eps > 0:
        case = dataclasses.replace(case, mask=np.zeros_like(case.mask))
    x = case.run(tiny_model(case.channels, case.policy))
    np.testing.assert_array_equal(x, case.image)


# Rule 5


@given(case=cases(attack=st.builds(la.FGSM, eps=st.sampled_from((0.0, 0.1, 1.0)) | st.floats(0, 1),
                                   norm=st.sampled_from(balls.NORMS)), compiled=False),
       keep=st.sampled_from(("best", "last")))  # fmt: skip
def test_5_one_step_of_pgd_is_fgsm(case, keep, tiny_model):
    model, eps, norm = tiny_model(case.channels, case.policy), case.attack.eps, case.attack.norm
    one_step = la.PGD(eps=eps, steps=1, step_size=eps, random_start=False, keep=keep, norm=norm)
    np.testing.assert_array_equal(bits(case.run(model)), bits(dataclasses.replace(case, attack=one_step).run(model)))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_5_one_step_of_pgd_is_fgsm_compiled(keep, tiny_model):
    rng = np.random.default_rng(0)
    image, mask = rng.random((5, 6, 7, 1), "float32"), rng.random((5, 6, 7, 1)) < 0.5
    label = np.array([0, 1, 2, 0, 1], "uint8")
    one_step = la.PGD(eps=8 / 255, steps=1, step_size=8 / 255, random_start=False, keep=keep)
    x, fgsm = (
        compiled_call(tiny_model(), attack, 1, False)(image, label, mask, 0, label)
        for attack in (one_step, la.FGSM(eps=8 / 255))
    )
    np.testing.assert_array_equal(bits(x), bits(fgsm))


# The equations themselves, on a model whose gradient is known: softmax regression


def softmax_regression(weights, shape, policy="float32"):
    layers = keras.layers
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(weights.shape[1], dtype=policy)])
    model.set_weights([weights, np.zeros(weights.shape[1], "float32")])
    return model


@settings(max_examples=examples(25))
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 5), eps=st.floats(0.01, 0.5), targeted=st.booleans(),
       norm=st.sampled_from(balls.NORMS), momentum=st.sampled_from((0.0, 0.5, 1.0)))  # fmt: skip
def test_pgd_is_the_papers_equation(seed, steps, eps, targeted, norm, momentum):
    rng = np.random.default_rng(seed)
    image, mask = rng.random((4, 5, 6, 1), "float32"), rng.random((4, 5, 6, 1)) < 0.5
    label, target = rng.integers(0, 3, (2, 4))
    weights = rng.normal(size=(30, 3)).astype("float32") / 4
    attack = la.PGD(eps=eps, steps=steps, random_start=False, keep="last", norm=norm, momentum=momentum)

    def size(x, order):
        return np.linalg.norm(x.reshape(4, -1), order, axis=1)[:, None, None, None]

    x, velocity = image, 0.0
    for _ in range(steps):
        logits = x.reshape(4, -1) @ weights
        share = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        gradient = ((share - np.eye(3)[target if targeted else label]) @ weights.T).reshape(image.shape)
        uphill = np.where(mask, -gradient if targeted else gradient, 0)
        if momentum:
            velocity = uphill = momentum * velocity + uphill / size(uphill, 1)
        if norm == "linf":
            x = np.clip(x + 2.5 * eps / steps * np.sign(uphill), image - eps, image + eps)
        else:
            change = x + 2.5 * eps / steps * uphill / size(uphill, 2) - image
            x = image + change * np.minimum(1, eps / size(change, 2))
        x = np.where(mask, x.clip(0, 1), image)

    model = softmax_regression(weights, (5, 6, 1))
    x_adv = attack(model, image, label, mask=mask, target=target if targeted else None)
    np.testing.assert_allclose(x_adv, x, atol=1e-5)


# Rule 6


def test_pgds_step_is_at_most_six_lines():
    """What a reader who opens `pgd.py` must be able to hold against the paper's equation 4."""
    _, *body = inspect.getsource(la.PGD.step).rstrip().splitlines()
    assert len(body) <= 6 and "s.x + task.alpha * " in body[-1] and "# eq. 4" in body[-1]


@given(case=cases())
def test_6_batch_norm_statistics_do_not_move(case, tiny_model):
    model = tiny_model(case.channels, case.policy)
    before = model.get_weights()
    case.run(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@given(case=cases(compiled=False))
def test_6_the_model_runs_for_inference(case, spy_on, tiny_model):
    spy = spy_on(tiny_model(case.channels, case.policy))
    case.run(spy)
    assert {training for _, _, training in spy.seen} == {False}


# Rule 7


@given(case=cases(compiled=False))
def test_7_neighbours_do_not_change_an_images_gradient(case, tiny_model):
    model, climb = tiny_model(case.channels), case.attack.loss
    image, label = tf.constant(case.image), tf.cast(case.label, tf.int64)
    together = respond_with_gradient(model, image, label, climb=climb).gradient
    alone = [respond_with_gradient(model, image[i : i + 1], label[i : i + 1], climb=climb) for i in range(len(label))]
    alone = np.concatenate([seen.gradient for seen in alone])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)  # scaled by 4096


# Rule 8


@settings(max_examples=examples(40))
@given(case=cases(attack=any_attack().filter(lambda attack: attack.keep == "best"), compiled=False))
def test_8_returns_the_best_point(case, spy_on, tiny_model):
    spy = spy_on(tiny_model(case.channels, case.policy))
    x_adv, attack = case.run(spy), case.attack
    ranking = int(getattr(attack, "targets", 0) > 0)  # a look at the image itself, to rank the wrong classes
    a_run = ranking + attack.steps + 1
    assert len(spy.points) == attack.runs * a_run
    # The start is no candidate, unless it is all there is.
    points = [point for k, point in enumerate(spy.points) if k % a_run > ranking or attack.steps == 0]
    goal = case.label if case.target is None else case.target
    for i in range(len(goal)):
        # Rank as the rule has it: fooled before not fooled, then the higher cross-entropy (for a target: the lower),
        # whatever the attack climbs.
        ranks = []
        for _, logits, _ in points:
            hit = (logits[i].argmax() == goal[i]) == (case.target is not None)
            loss = cross_entropy(logits[i : i + 1], goal[i : i + 1])[0]
            ranks.append((hit, loss if case.target is None else -loss))
        best = max(ranks)
        event(f"fooled: {best[0]}")
        chosen = [rank for rank, (x, _, _) in zip(ranks, points, strict=True) if (x[i] == x_adv[i]).all()]
        assert chosen and chosen[0][0] == best[0] and max(chosen)[1] >= best[1] - 1e-5


RANKS = st.lists(st.tuples(st.booleans(), st.sampled_from((-1.0, 0.0, 2.0)), st.booleans()), min_size=1, max_size=8)


@given(points=RANKS)
def test_8_fooled_comes_before_loss(points):
    """A run through points of one image: whether it fools, its loss, whether it is a candidate at all."""
    best = loop.Point(tf.constant([[[[-1.0]]]]), tf.constant([-np.inf]), tf.constant([False]), tf.constant([False]))
    for k, (fooled, loss, eligible) in enumerate(points):
        seen = losses.Response(tf.constant([loss]), tf.constant([fooled]), None)
        best = loop.better(best, tf.fill((1, 1, 1, 1), float(k)), seen, eligible)
    candidates = [point for point in points if point[2]]
    if candidates:  # the first of the best
        assert float(best.image[0, 0, 0, 0]) == points.index(max(candidates))
        assert (bool(best.fooled[0]), float(best.loss[0]), True) == max(candidates)
    else:
        assert float(best.image[0, 0, 0, 0]) == -1


last_points = st.builds(
    la.PGD,
    eps=st.floats(0, 1),
    steps=st.integers(1, 4),
    step_size=st.floats(0, 1, exclude_min=True),
    random_start=st.booleans(),
    keep=st.just("last"),
)


@given(case=cases(attack=last_points, compiled=False))
def test_8_or_the_last_point(case, spy_on, tiny_model):
    model = tiny_model(case.channels, case.policy)
    x_adv = case.run(model)
    # One step more passes through the same points: the last that it shows the model is this attack's result.
    spy = spy_on(model)
    dataclasses.replace(case, attack=dataclasses.replace(case.attack, steps=case.attack.steps + 1)).run(spy)
    np.testing.assert_array_equal(bits(x_adv), bits(spy.points[-1][0]))


@pytest.mark.parametrize(
    "attack",
    [
        la.PGD(eps=0.1, steps=1),
        la.PGD(eps=0.5, steps=1),
        la.PGD(eps=1.0, steps=1, norm="l2"),
        la.APGD(eps=0.1, steps=1),
        la.APGD(eps=0.1, steps=1, targets=2),
        la.Square(eps=0.1, queries=2),
    ],
    ids=str,
)
def test_8_restarts_differ_and_more_of_them_are_no_worse(attack, spy_on, tiny_model):
    rng = np.random.default_rng(0)
    image, label = rng.random((16, 6, 6, 1), "float32"), rng.integers(0, 3, 16)
    spy = spy_on(tiny_model())
    dataclasses.replace(attack, restarts=2)(spy, image, label)
    half = len(spy.points) // 2
    first, second = np.stack([x for x, _, _ in spy.points[:half]]), np.stack([x for x, _, _ in spy.points[half:]])
    assert (first != second).mean() > 0.2
    losses = []
    for restarts in (1, 2, 4):
        x = dataclasses.replace(attack, restarts=restarts)(tiny_model(), image, label)
        logits = tiny_model()(x, training=False).numpy()
        fooled = logits.argmax(axis=-1) != label
        losses.append(np.where(fooled, 100, 0) + cross_entropy(logits, label))
    assert (losses[0] <= losses[1] + 1e-5).all() and (losses[1] <= losses[2] + 1e-5).all()


# Rule 9


@given(case=cases(compiled=False))
def test_9_images_and_losses_stay_float32(case, spy_on, tiny_model):
    model = tiny_model(case.channels, "mixed_float16")
    spy = spy_on(model)
    case.run(spy)
    assert {x.dtype for x, _, _ in spy.seen} == {np.dtype("float32")}
    label = tf.cast(case.label, tf.int64)
    seen = respond_with_gradient(model, tf.constant(case.image), label, climb=case.attack.loss)
    assert seen.loss.dtype == seen.value.dtype == seen.gradient.dtype == tf.float32


def test_9_a_confident_models_gradient_survives_float16():
    """A probability of about 6e-6 left, times small weights: without the scale below float16's smallest number."""
    rng = np.random.default_rng(0)
    image, label = rng.uniform(0.4, 0.6, (2, 6, 6, 1)).astype("float32"), np.array([0, 0])
    for_class_0 = rng.uniform(0.5e-3, 1.5e-3, (36, 1))
    weights = [np.ones((1, 1, 1, 1)), np.zeros(1), np.hstack([for_class_0, -for_class_0]), np.array([6.0, -6.0])]
    moved = {}
    for policy in ("float32", "mixed_float16"):
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                layers.Conv2D(1, 1, dtype=policy),
                layers.Flatten(dtype=policy),
                layers.Dense(2, dtype="float32"),
            ]
        )
        model.set_weights(weights)
        moved[policy] = la.FGSM(eps=0.1)(model, image, label).numpy()
    assert (moved["float32"] < image).all()  # all weights speak for class 0
    np.testing.assert_array_equal(moved["mixed_float16"], moved["float32"])


# Rule 10


def square_root_model(height, width):
    """d sqrt(1 − x) / dx is infinite at x = 1."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((height, width, 1)),
            layers.Lambda(lambda x: keras.ops.sqrt(1.0 - x)),
            layers.Flatten(),
            layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(0)),
        ]
    )


@settings(max_examples=examples(15))
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 3), share=st.sampled_from((0.0, 0.02, 0.5)))
def test_10_without_a_finite_gradient_a_pixel_stays_and_the_image_is_flagged(seed, steps, share):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.2, 0.8, (4, 5, 6, 1)).astype("float32")
    bad = rng.random(image.shape) < share
    image[bad] = 1.0
    model, label, mask = square_root_model(5, 6), tf.constant([0, 1, 2, 0], tf.int64), tf.ones(image.shape, tf.bool)
    attack = la.PGD(eps=0.1, steps=steps, random_start=False)
    best = loop.search(attack, model, tf.constant(image), label, mask, seed=0, index=tf.range(4))
    np.testing.assert_array_equal(best.nonfinite, bad.any(axis=(1, 2, 3)))
    np.testing.assert_array_equal(best.image == image, bad)


@pytest.mark.parametrize(
    "attack",
    [
        la.PGD(eps=0.3, steps=20),
        la.PGD(eps=0.3, steps=20, momentum=0.9),
        la.PGD(eps=9.0, steps=20, momentum=0.9, norm="l2", step_size=0.3),
        la.APGD(eps=0.3, steps=20),
    ],
    ids=str,
)
def test_10_a_pixel_stays_in_a_step_without_a_finite_gradient_whatever_its_momentum(attack):
    rng = np.random.default_rng(0)
    image, label = tf.constant(rng.uniform(0.3, 0.7, (4, 5, 6, 1)), tf.float32), tf.zeros(4, tf.int64)
    task = loop.Task(
        image,
        label,
        tf.ones(image.shape, tf.bool),
        attack.eps,
        attack.alpha,
        float(attack.steps),
        tf.zeros(4, tf.uint32),
    )
    none = label > 0
    s = loop.begin(attack, None, task, 0, loop.Point(image, tf.zeros(4), none, none))
    for k in range(attack.steps):
        lost = rng.random(image.shape) < 0.3
        gradient = np.where(lost, rng.choice([np.nan, np.inf, -np.inf], lost.shape), rng.normal(size=lost.shape))
        loss = tf.fill([4], float(k))  # it always grows, or APGD would go back to where it was highest
        seen = losses.Response(loss, label > 0, loss, tf.constant(gradient, tf.float32))
        x = s.x.numpy()
        s = loop.take_step(attack, task, s, seen)
        x_next = s.x.numpy()
        np.testing.assert_allclose(x_next[lost], x[lost], rtol=0, atol=1e-6 if attack.norm == "l2" else 0)
        assert (np.abs(x_next - x)[~lost] > 1e-3).mean() > 0.2


def test_10_an_image_stays_flagged_when_a_later_restart_is_fine():
    image, label = np.full((40, 5, 6, 1), 0.5, "float32"), np.arange(40) % 3
    image[:, 2, 3] = 1.0  # half of the random starts leave this pixel at 1, where its gradient is infinite
    index, mask = tf.range(40), tf.ones(image.shape, tf.bool)
    starts = [balls.random_point(tf.constant(image), mask, 0.1, loop.image_key(0, index, r)).numpy() for r in range(2)]
    at_one = [(x == 1).any(axis=(1, 2, 3)) for x in starts]
    assert (at_one[0] & ~at_one[1]).any()
    attack, model = la.PGD(eps=0.1, steps=1, restarts=2), square_root_model(5, 6)
    best = loop.search(attack, model, tf.constant(image), tf.constant(label), mask, seed=0, index=index)
    np.testing.assert_array_equal(best.nonfinite, at_one[0] | at_one[1])
    result = la.run_attack(model, (image, label, mask), attack, stop="worst")
    np.testing.assert_array_equal(result.nonfinite, at_one[0] | at_one[1])


# Rule 11 (across batch sizes: test_stream.py)


@given(case=cases())
def test_11_a_seed_repeats_bit_for_bit(case, tiny_model):
    model = tiny_model(case.channels, case.policy)
    np.testing.assert_array_equal(bits(case.run(model)), bits(case.run(model)))


@pytest.mark.parametrize(
    "attack",
    [
        la.PGD(eps=0.1, steps=1, step_size=1e-6),
        la.PGD(eps=1.0, steps=1, step_size=1e-6, norm="l2"),
        la.RandomNoise(eps=0.1),
        la.Square(eps=0.1, queries=1),
    ],
    ids=str,
)
def test_11_seeds_differ_whatever_holds_them(attack, tiny_model):
    image, label = np.full((2, 6, 6, 1), 0.5, "float32"), np.array([0, 1])

    def run(seed):
        return attack(tiny_model(), image, label, seed=seed).numpy()

    np.testing.assert_array_equal(run(7), run(tf.constant(7, tf.int64)))
    np.testing.assert_array_equal(run(7), run(np.uint32(7)))
    assert (run(7) != run(8)).mean() > 0.3
    assert (run(7)[0] != run(7)[1]).mean() > 0.3  # and images differ


# Rule 12, and the ways to run an attack


@pytest.mark.parametrize(
    ("few", "many"),
    [
        (la.PGD(eps=0.1, steps=2, restarts=2), la.PGD(eps=0.1, steps=40, restarts=40)),
        (la.APGD(eps=0.1, steps=2, targets=1), la.APGD(eps=0.1, steps=40, targets=2, restarts=40)),
        (la.Square(eps=0.1, queries=2), la.Square(eps=0.1, queries=5000, restarts=3)),
    ],
    ids=str,
)
def test_12_the_graph_does_not_grow_with_the_steps(few, many, tiny_model):
    def nodes(attack):
        specs = [tf.TensorSpec((None, 6, 6, 1)), tf.TensorSpec((None,), tf.int32)]
        call = tf.function(lambda image, label: attack(tiny_model(), image, label))
        graph = call.get_concrete_function(*specs).graph.as_graph_def()
        return sum(len(function.node_def) for function in graph.library.function) + len(graph.node)

    assert nodes(few) == nodes(many)


@pytest.mark.parametrize(
    "attack",
    [
        la.PGD(eps=0.1, steps=3, restarts=2),
        la.RandomNoise(eps=0.2),
        la.PGD(eps=1.0, steps=3, norm="l2", loss="dlr", momentum=0.9),
        la.APGD(eps=0.1, steps=6, loss="margin", targets=2),
        la.Square(eps=0.2, queries=6),
    ],
    ids=str,
)
def test_eager_compiled_and_xla_agree(attack, tiny_model):
    rng = np.random.default_rng(0)
    model, image, mask = tiny_model(), rng.random((3, 6, 7, 1), "float32"), rng.random((3, 6, 7, 1)) < 0.7
    label = np.array([0, 1, 2])

    def call(image, label, mask):
        return attack(model, image, label, mask=mask, seed=3)

    eager = call(image, label, mask)
    for compiled in (tf.function(call), tf.function(call, jit_compile=True)):
        x = compiled(image, label, mask).numpy()
        np.testing.assert_allclose(x, eager, atol=1e-6)
        np.testing.assert_array_equal(bits(x)[~mask], bits(image)[~mask])


@pytest.mark.parametrize(("label_dtype", "mask_dtype"), [(d, MASKS[i % 4]) for i, d in enumerate(INTEGERS)])
def test_dtypes_of_labels_and_masks_do_not_matter(label_dtype, mask_dtype, tiny_model):
    rng = np.random.default_rng(0)
    image, mask, label = rng.random((3, 6, 6, 1), "float32"), rng.random((3, 6, 6, 1)) < 0.5, np.array([0, 1, 2])

    def call(image, label, mask):
        return la.PGD(eps=0.1, steps=2)(tiny_model(), image, label, mask=mask, target=(label + 1) % 3)

    expected = call(image, label, mask)
    for run in (call, tf.function(call)):
        np.testing.assert_array_equal(run(image, label.astype(label_dtype), mask.astype(mask_dtype)), expected)


# Attack objects


@given(attack=any_attack() | st.builds(la.LocalizedAutoAttack, eps=st.floats(0, 1), budget=st.just("fast")))
def test_attacks_are_frozen_hashable_printable_and_come_back_from_their_config(attack):
    again = type(attack)(**attack.get_config())
    assert again == attack and hash(again) == hash(attack)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(attack))
    assert loaded == attack and type(loaded) is type(attack)
    assert ("(L2)" if attack.norm == "l2" else "/255") in str(attack) and type(attack).__name__ in repr(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.eps = 0.5


def test_fgsm_moves_eps_uphill_and_noise_moves_eps_by_chance():
    weights = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    model = softmax_regression(weights, (8, 8, 1))
    image, label = np.full((1, 8, 8, 1), 0.5, "float32"), np.array([0])
    up = (la.FGSM(eps=0.25)(model, image, label).numpy() - image).ravel()
    np.testing.assert_array_equal(up, 0.25 * np.sign(weights[:, 1] - weights[:, 0]))
    noise = (la.RandomNoise(eps=0.25)(model, image, label).numpy() - image).ravel()
    assert set(noise) == {-0.25, 0.25} and 20 < (noise > 0).sum() < 44


def test_a_target_of_ones_own_and_all_targets_in_turn_exclude_each_other(tiny_model):
    image, label = np.zeros((2, 4, 4, 1), np.float32), np.array([0, 1])
    for attack in (la.APGD(eps=0.1, targets=2), la.LocalizedAutoAttack(eps=0.1, targets=2, loss="margin")):
        with pytest.raises(ValueError, match=r"aims at each wrong class in turn; expected target=None"):
            attack(tiny_model(), image, label, target=label)


def test_a_random_start_fills_the_ball():
    image, mask = tf.fill((50, 8, 8, 1), 0.5), tf.ones((50, 8, 8, 1), tf.bool)
    change = balls.random_point(image, mask, 0.2, loop.image_key(0, tf.range(50), 0)).numpy() - 0.5
    assert change.min() < -0.19 and change.max() > 0.19 and abs(change.mean()) < 0.01
    np.testing.assert_allclose(change.std(), 0.2 / np.sqrt(3), rtol=0.05)


def test_region_masks():
    mask = np.array([0, 1, 1], "float32").reshape(1, 1, 3, 1)
    shown = {region: la.region_mask(mask, region).numpy().ravel().tolist() for region in la.validation.REGIONS}
    assert shown == {"background": [0, 1, 1], "foreground": [1, 0, 0], "full": [1, 1, 1]}


def cut_share(raw, image, mask, eps, norm="linf"):
    """What the loop counts in a step that leads to `raw`."""

    class There(la.PGD):
        def step(self, task, s, seen):
            return tf.constant(raw), ()

    label = tf.zeros(1, tf.int64)
    task = loop.Task(tf.constant(image), label, mask, eps, eps, 1.0, tf.zeros(1, tf.uint32))
    best = loop.Point(task.image, tf.zeros(1), label > 0, label > 0)
    s = loop.Search(task.image, tf.constant(0.0), (), best, tf.zeros(1))
    seen = losses.Response(tf.zeros(1), label > 0, tf.zeros(1), tf.zeros_like(task.image))
    return float(loop.take_step(There(eps=eps, norm=norm), task, s, seen).clipped[0])


def test_cut_share_counts_the_masks_steps_that_leave_the_range():
    x = np.repeat(np.float32([0.0, 0.0, 1.0, 0.5]).reshape(1, 2, 2, 1), 3, axis=-1)
    gradient = np.repeat(np.float32([-1, 1, 1, 1]).reshape(1, 2, 2, 1), 3, axis=-1)  # the first and the third leave
    masks = {"all": [1, 1, 1, 1], "first half": [1, 1, 0, 0], "last": [0, 0, 0, 1], "none": [0, 0, 0, 0]}
    shares = {
        name: cut_share(x + gradient, x, tf.reshape(tf.cast(mask, tf.bool), (1, 2, 2, 1)), 0.1)
        for name, mask in masks.items()
    }
    assert shares == {"all": 0.5, "first half": 0.5, "last": 0.0, "none": 0.0}


@pytest.mark.parametrize("norm", balls.NORMS)
def test_what_the_budget_alone_cuts_is_not_counted(norm):
    x, mask = np.full((1, 2, 2, 1), 0.15, np.float32), tf.ones((1, 2, 2, 1), tf.bool)
    assert cut_share(x - 0.4, x, mask, 0.1, norm) == 0.0


def test_a_model_that_cuts_the_gradient_off_is_refused_by_name():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Lambda(tf.round), keras.layers.Flatten()])
    image, label = np.zeros((2, 4, 4, 1), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match=r"no gradient flows .* expected a model that is differentiable"):
        la.PGD(eps=0.1)(model, image, label)


class Flips(keras.layers.Layer):
    """Multiplies an image's logits by -1 in three of ten answers."""

    def call(self, logits):
        coins = tf.random.uniform((tf.shape(logits)[0], 1))
        return tf.where(coins < 0.7, logits, -logits)


@pytest.mark.parametrize("way", ["run_attack", "eagerly"])
def test_the_mean_of_several_looks_finds_the_way_where_one_is_often_misled(way):
    keras.utils.set_random_seed(0)  # graphs that are built alike draw alike then: nine looks were one
    uphill = np.resize(np.float32([1, -1]), (4, 4, 1))  # a grey image lies on the boundary
    inputs = keras.Input((4, 4, 1))
    random = keras.Model(inputs, Flips()(keras.layers.Dense(2)(keras.layers.Flatten()(inputs))))
    random.set_weights([np.stack([-uphill.ravel(), uphill.ravel()], axis=1), np.zeros(2, "float32")])
    image, label = np.full((600, 4, 4, 1), 0.5, "float32"), np.zeros(600, int)
    right = {}
    for samples in (1, 9):
        attack = la.PGD(eps=0.1, steps=1, random_start=False, keep="last", loss="margin", samples=samples)
        if way == "eagerly":
            x = attack(random, image, label).numpy()
        else:
            result = la.run_attack(random, (image, label), attack, region="full", stop="worst")
            assert result.gradient_evaluations == len(image) * samples
            x = result.images
        right[samples] = np.mean((np.sign(x - image) == uphill).all(axis=(1, 2, 3)))
    # 0.7 of single looks, and of nine looks' majorities 0.9
    assert 0.55 < right[1] < 0.82 < right[9]
