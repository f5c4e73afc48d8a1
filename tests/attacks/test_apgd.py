"""APGD beside algorithm 1 of Croce & Hein (2020), written a second time in NumPy, and beside PGD."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.attacks import loop, losses

# A network small enough to differentiate by hand: 30 pixels, sines of 12 sums, 4 classes.
PIXELS, HIDDEN, CLASSES = 30, 12, 4


def checkpoints(steps):
    """w_j = ⌈p_j · steps⌉ with p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06), in percent."""
    percent = [0, 22]
    while percent[-1] < 100:
        percent.append(percent[-1] + max(percent[-1] - percent[-2] - 3, 6))
    return [-(-p * steps // 100) for p in percent]


def algorithm_1(ask, project, direction, x, eps, steps):
    """The points x^(0) … x^(steps), and at which checkpoints conditions 1 and 2 held.

    `ask(x)` is f(x) and its gradient. Where the text leaves a choice, it is made as in the authors' program: a
    checkpoint comes as soon as x^(w_j) is known; condition 1 holds for exactly 75 % of the steps, too; condition 2
    needs a checkpoint before.
    """
    w = checkpoints(steps)
    f, gradient = ask(x)
    points, conditions = [x], []
    eta, previous, uphill = 2 * eps, x, 0
    x_max, f_max, gradient_max = x, f, gradient
    halved, f_max_before = True, f
    for k in range(1, steps + 1):
        z = project(x + eta * direction(gradient))
        x_next = z if k == 1 else project(x + 0.75 * (z - x) + 0.25 * (x - previous))
        f_next, gradient = ask(x_next)
        uphill += f_next > f
        previous, x, f = x, x_next, f_next
        points.append(x)
        if f > f_max:
            x_max, f_max, gradient_max = x, f, gradient
        if k in w:
            since = k - w[w.index(k) - 1]
            conditions.append((bool(uphill <= 0.75 * since), not halved and f_max == f_max_before))
            halved, f_max_before, uphill = any(conditions[-1]), f_max, 0
            if halved:
                eta, x, gradient = eta / 2, x_max, gradient_max
    return np.stack(points), conditions


def objective(loss, z, y, t):
    """f and its gradient in the logits z, away from class y or towards class t."""
    one = np.eye(CLASSES)
    order = np.argsort(-z)
    if loss == "cross-entropy":
        p = np.exp(z) / np.exp(z).sum()
        return (-np.log(p[y]), p - one[y]) if t is None else (np.log(p[t]), one[t] - p)
    if loss == "margin":
        y, sign = (y, 1) if t is None else (t, -1)
        slope = sign * (one[next(i for i in order if i != y)] - one[y])
        return z @ slope, slope
    above = one[t] - one[y]  # DLR with a target
    below = one[order[0]] - (one[order[2]] + one[order[3]]) / 2
    return (z @ above) / (z @ below), (above * (z @ below) - below * (z @ above)) / (z @ below) ** 2


@pytest.mark.parametrize(
    ("norm", "loss", "targeted", "seed", "expected"),
    [
        ("linf", "margin", False, 1, {(True, False), (False, False), (True, True)}),
        ("linf", "dlr", True, 2, {(True, False)}),
        ("l2", "cross-entropy", False, 0, {(True, False), (False, False)}),
        ("l2", "cross-entropy", True, 1, {(True, False), (False, False), (False, True)}),
    ],
)
def test_every_point_is_algorithm_1s(norm, loss, targeted, seed, expected, spy_on):
    rng = np.random.default_rng(seed)
    w1 = (6 / np.sqrt(PIXELS) * rng.normal(size=(PIXELS, HIDDEN))).astype("float32")
    b1, w2 = rng.normal(size=HIDDEN).astype("float32"), rng.normal(size=(HIDDEN, CLASSES)).astype("float32")
    layers, steps, eps = keras.layers, 100, 0.3 if norm == "linf" else 1.0
    model = keras.Sequential(
        [
            keras.Input((5, 6, 1)),
            layers.Flatten(),
            layers.Dense(HIDDEN, activation=keras.ops.sin),
            layers.Dense(CLASSES, use_bias=False),
        ]
    )
    model.set_weights([w1, b1, w2])
    image, mask = rng.random((1, 5, 6, 1), "float32"), rng.random((1, 5, 6, 1)) < 0.7
    y, t = rng.choice(CLASSES, 2, replace=False)
    spy, t = spy_on(model), t if targeted else None
    attack = la.APGD(eps=eps, steps=steps, norm=norm, loss=loss)
    attack(spy, image, np.array([y]), mask=mask, target=None if t is None else np.array([t]))
    seen = np.stack([x.ravel() for x, _, _ in spy.points])

    w1, b1, w2, flat = (part.astype("float64") for part in (w1, b1, w2, image.ravel()))
    free = mask.ravel()

    def ask(x):
        sums = x @ w1 + b1
        f, slope = objective(loss, np.sin(sums) @ w2, y, t)
        return f, w1 @ (np.cos(sums) * (w2 @ slope))

    def project(x):
        change = np.where(free, x - flat, 0)
        if norm == "linf":
            return (flat + change.clip(-eps, eps)).clip(0, 1)
        return (flat + change * min(1, eps / np.linalg.norm(change))).clip(0, 1)

    def direction(gradient):
        gradient = np.where(free, gradient, 0)
        return np.sign(gradient) if norm == "linf" else gradient / np.linalg.norm(gradient)

    points, conditions = algorithm_1(ask, project, direction, seen[0].astype("float64"), eps, steps)
    assert set(conditions) == expected and len(conditions) == 8
    np.testing.assert_allclose(seen, points, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("steps", "expected"), [(100, checkpoints(100)[1:]), (20, [4, 7, 9]), (3, [1, 2, 3])])
def test_checkpoints_come_after_whole_steps(steps, expected):
    """A value that never grows: the step is halved at each, which shows in what is remembered."""
    image, mask = tf.fill((1, 2, 2, 1), 0.5), tf.ones((1, 2, 2, 1), tf.bool)
    attack, label = la.APGD(eps=0.1, steps=steps), tf.zeros(1, tf.int64)
    task = loop.Task(image, label, mask, 0.1, attack.alpha, float(steps), tf.zeros(1, tf.uint32))
    s, halvings = loop.begin(attack, None, task, 0, loop.Point(image, tf.zeros(1), label > 0, label > 0)), []
    for k in range(steps + 1):
        seen = losses.Response(tf.zeros(1), label > 0, tf.zeros(1), tf.ones_like(image))
        eta = float(s.memory.eta[0, 0, 0, 0])
        s = loop.take_step(attack, task, s, seen)
        if s.memory.eta[0, 0, 0, 0] < eta:
            halvings.append(k)
    np.testing.assert_allclose(float(s.memory.eta[0, 0, 0, 0]), 0.2 / 2 ** len(halvings), rtol=1e-6)
    assert halvings[: len(expected)] == [k for k in expected if k <= steps][: len(halvings)]


def test_each_target_has_its_run_the_likeliest_first(spy_on):
    """On softmax regression, where the first step leads to a corner that the target alone determines."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(PIXELS, CLASSES)).astype("float32")
    model = keras.Sequential([keras.Input((5, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    model.set_weights([weights, np.zeros(CLASSES, "float32")])
    image, label = rng.uniform(0.2, 0.8, (6, 5, 6, 1)).astype("float32"), rng.integers(0, CLASSES, 6)
    logits = image.reshape(6, -1) @ weights
    logits[np.arange(6), label] = -np.inf
    ranked = np.argsort(-logits, axis=1)
    spy = spy_on(model)
    la.APGD(eps=0.1, steps=1, targets=3, restarts=2)(spy, image, label)
    runs = [spy.points[first : first + 3] for first in range(0, len(spy.points), 3)]  # ranking, start, step
    assert len(runs) == 6
    for run, ((ranking, _, _), (_, logits, _), (x, _, _)) in enumerate(runs):
        np.testing.assert_array_equal(ranking, image)
        share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        uphill = np.sign((np.eye(CLASSES)[ranked[:, run % 3]] - share) @ weights.T).reshape(image.shape)
        np.testing.assert_allclose(x, image + 0.1 * uphill, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0; expected a whole number, at least 1"),
        ({"restarts": 0}, "restarts=0"),
        ({"targets": -1}, "targets=-1; expected a whole number, at least 0"),
        ({"loss": "hinge"}, "loss='hinge' is unknown; expected one of 'cross-entropy', 'margin', 'dlr'"),
        ({"norm": "l1"}, "norm='l1' is unknown"),
        ({"eps": 8}, "8/255 is what you mean"),
        ({"eps": -1.0, "norm": "l2"}, "number from 0 to 10000"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        la.APGD(**{"eps": 0.1} | options)


def test_more_targets_than_wrong_classes_are_refused(tiny_model):
    image, label = np.zeros((2, 4, 4, 1), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match=r"targets=3, the model has 3 classes; expected at most 2 targets"):
        la.APGD(eps=0.1, targets=3)(tiny_model(), image, label)


def test_at_an_equal_budget_apgd_is_no_weaker_than_pgd(natural_model, digits_test):
    robust = {}
    for attack in (la.PGD(eps=0.08, steps=20), la.APGD(eps=0.08, steps=20)):
        result = la.run_attack(natural_model, digits_test.take(200), attack)
        robust[type(attack)] = 1 - result.fooled.mean()
    assert 0.1 < robust[la.PGD] < 0.9  # neither hopeless nor trivial
    assert robust[la.APGD] <= robust[la.PGD] + 0.01
