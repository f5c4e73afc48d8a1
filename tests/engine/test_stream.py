"""`run_attack` against the plain loop: the same verdicts and losses in the input's order, whatever the batch."""

import dataclasses
import functools
import gc
import itertools
import threading
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

import locadv_tf as la
from locadv_tf.attacks.attack import Attack
from locadv_tf.data.batches import batches
from locadv_tf.engine import slots, stream
from locadv_tf.engine.kept import forget


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble(Attack):
    """Any attacks, one after the other."""

    members: tuple = ()

    @property
    def name(self):
        return " + ".join(member.name for member in self.members)


N = 150
APGD, APGD_TARGETED = la.APGD(eps=0.03, steps=5), la.APGD(eps=0.03, steps=3, loss="dlr", targets=2, restarts=2)
SQUARE = la.Square(eps=0.03, queries=8)
ENSEMBLE = Ensemble(eps=0.03, members=(SQUARE, la.PGD(eps=0.03, steps=1, random_start=False), APGD_TARGETED))
ATTACKS = [
    la.FGSM(eps=0.05),
    la.PGD(eps=0.03, steps=4),
    la.PGD(eps=0.03, steps=2, restarts=3),
    la.PGD(eps=0.03, steps=3, random_start=False),
    la.RandomNoise(eps=0.3),
    la.RandomNoise(eps=0.3, restarts=4),
    la.FGSM(eps=0.1, norm="l2"),
    la.PGD(eps=0.1, steps=3, restarts=2, norm="l2", loss="margin", momentum=0.9),
    APGD,
    APGD_TARGETED,
    la.APGD(eps=0.1, steps=4, norm="l2"),
    SQUARE,
    ENSEMBLE,
]


@pytest.fixture(scope="module")
def model():
    """A tiny classifier that the attacks fool about half the time."""
    layers, init = keras.layers, keras.initializers.HeNormal
    return keras.Sequential(
        [
            keras.Input((6, 5, 1)),
            layers.Flatten(),
            layers.Dense(16, activation="relu", kernel_initializer=init(0)),
            layers.Dense(4, kernel_initializer=init(1)),
        ]
    )


@pytest.fixture(scope="module")
def data(model):
    """`(images, labels, masks)`; the model gets a fifth of the images wrong, and some masks are empty."""
    rng = np.random.default_rng(0)
    image = rng.random((N, 6, 5, 1), "float32")
    label = predicted(model, image)
    label = np.where(rng.random(N) < 0.2, (label + 1) % 4, label)
    mask = (rng.random(image.shape) < rng.choice([0.0, 0.5, 1.0], (N, 1, 1, 1))).astype("float32")
    return image, label, mask


def predicted(model, image):
    return model(image, training=False).numpy().argmax(axis=-1)


def losses(model, image, label):
    logits = model(image, training=False)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits).numpy()


def plain_loop(model, data, attack, seed=0):
    """The attack on all images at once; wrong by nature or by the attack, the best loss, and the points."""
    image, label, mask = data
    x = attack(model, image, label, mask=mask, seed=seed).numpy()
    return (predicted(model, image) != label) | (predicted(model, x) != label), losses(model, x, label), x


@pytest.fixture(scope="module")
def plain_answers(model, data):
    """`plain_answers(attack, n)`: `plain_loop` on the first n images with seed 3, run once for all batch sizes."""
    return functools.cache(lambda attack, n: plain_loop(model, tuple(part[:n] for part in data), attack, seed=3))


def budgets(attack):
    """Gradient evaluations and queries of an image that takes the whole budget."""
    spent = [(member.uses_gradient, member.runs * member.steps) for member in attack.members]
    return sum(steps for gradient, steps in spent if gradient), sum(steps for gradient, steps in spent if not gradient)


def assert_same(result, other):
    """Bit for bit."""
    for name, value in vars(result).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


# The plain loop


@pytest.mark.parametrize("batch_size", [1, 7, 128, 500])
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_leaving_early_gives_the_plain_loops_verdicts(attack, batch_size, model, data, plain_answers):
    n = 25 if batch_size == 1 else N
    image, label, mask = data = tuple(part[:n] for part in data)
    result = la.run_attack(model, data, attack, seed=3, batch_size=batch_size)
    fooled, _, _ = plain_answers(attack, n)
    np.testing.assert_array_equal(result.fooled, fooled)
    assert 0.2 < fooled.mean() < 0.95  # both verdicts occur

    np.testing.assert_array_equal(result.index, np.arange(n))
    natural = predicted(model, image) == label
    np.testing.assert_array_equal(result.natural_correct, natural)
    np.testing.assert_array_equal(predicted(model, result.images) != label, result.fooled)  # the image proves it
    np.testing.assert_allclose(result.loss, losses(model, result.images, label), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.natural_loss, losses(model, image, label), rtol=1e-4, atol=1e-5)
    change = np.abs(result.images - image)
    size = np.linalg.norm(change.reshape(n, -1), axis=1) if attack.norm == "l2" else change
    assert change[mask == 0].max() == 0 and size.max() <= np.float32(attack.eps) + 1e-7
    np.testing.assert_array_equal(result.images[~natural], image[~natural])
    assert not result.nonfinite.any()


@pytest.mark.parametrize("batch_size", [7, 128])
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_the_whole_budget_gives_the_plain_loops_losses(attack, batch_size, model, data, plain_answers):
    label = data[1]
    result = la.run_attack(model, data, attack, seed=3, stop="worst", batch_size=batch_size)
    fooled, loss, x = plain_answers(attack, N)
    np.testing.assert_array_equal(result.fooled, fooled)
    right = result.natural_correct
    np.testing.assert_allclose(result.loss[right], loss[right], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(result.images[right], x[right], atol=1e-5)
    # A natural error is a point that fools, too: it counts where the attack finds none that is worse.
    wrong, fooled_by_x = ~right, predicted(model, x) != label
    worst = np.where(fooled_by_x, np.maximum(loss, result.natural_loss), result.natural_loss)
    np.testing.assert_allclose(result.loss[wrong], worst[wrong], rtol=1e-3, atol=1e-5)
    assert (result.gradient_evaluations, result.queries) == tuple(N * spent for spent in budgets(attack))


@pytest.mark.parametrize("region", ["background", "foreground", "full"])
def test_a_region_is_a_mask(region, model, data):
    image, label, mask = data
    attack = la.PGD(eps=0.05, steps=3)
    result = la.run_attack(model, data, attack, region=region, stop="worst")
    allowed = {"background": mask, "foreground": 1 - mask, "full": np.ones_like(mask)}[region]
    fooled, _, x = plain_loop(model, (image, label, allowed), attack)
    np.testing.assert_array_equal(result.fooled, fooled)
    np.testing.assert_allclose(result.images[result.natural_correct], x[result.natural_correct], atol=1e-5)


@settings(max_examples=examples(15))
@given(n=st.integers(0, 20), batch_size=st.integers(1, 25), steps=st.integers(1, 4), restarts=st.integers(1, 3),
       kind=st.sampled_from((la.PGD, la.APGD, la.Square)), stop=st.sampled_from(("fooled", "worst")),
       seed=st.integers(0, 2**31))  # fmt: skip
def test_any_number_of_images_in_any_batches(n, batch_size, steps, restarts, kind, stop, seed, model, data):
    few, counted = tuple(part[:n] for part in data), "queries" if kind is la.Square else "steps"
    attack = kind(eps=0.03, restarts=restarts, **{counted: steps})
    result = la.run_attack(model, few, attack, stop=stop, seed=seed, batch_size=batch_size)
    assert len(result) == len(result.images) == n
    if n:
        np.testing.assert_array_equal(result.fooled, plain_loop(model, few, attack, seed)[0])


def test_keep_last_is_for_calls_on_tensors(model, data):
    """`run_attack` reports the first point that fools or the worst one, never merely the last."""
    best, last = (la.PGD(eps=0.03, steps=4, keep=keep) for keep in ("best", "last"))
    assert_same(la.run_attack(model, data, best, stop="worst"), la.run_attack(model, data, last, stop="worst"))


# Extremes


def test_no_images(model, data):
    nothing = tuple(part[:0] for part in data)
    for empty in (nothing, as_dataset(*nothing), as_dataset(*nothing).batch(4)):
        result = la.run_attack(model, empty, la.FGSM(eps=0.1))
        assert len(result) == len(result.images) == result.gradient_evaluations == 0


@pytest.mark.parametrize("stop", ["fooled", "worst"])
def test_one_image(stop, model, data):
    attack = la.PGD(eps=0.03, steps=3)
    whole = la.run_attack(model, data, attack, stop=stop)
    for i in (0, 1, 2):
        one = la.run_attack(model, tuple(part[i : i + 1] for part in data), la.FGSM(eps=0.05), stop=stop)
        assert len(one) == 1 and one.natural_correct[0] == whole.natural_correct[i]


def test_all_fooled_at_once_and_none_fooled_at_all(model, data):
    image, _, mask = data
    label, full = predicted(model, image), np.ones_like(mask)
    attack = la.PGD(eps=1.0, steps=5, step_size=1.0, random_start=False)
    result = la.run_attack(model, (image, label, full), attack, batch_size=32)
    assert result.fooled.all() and result.gradient_evaluations < N * 5
    result = la.run_attack(model, (image, label, 0 * mask), attack, batch_size=32)
    assert not result.fooled.any() and result.gradient_evaluations == N * 5
    np.testing.assert_array_equal(result.images, image)


@pytest.mark.parametrize(
    "attack",
    [
        la.FGSM(eps=0.0),
        la.PGD(eps=0.0, restarts=2),
        la.RandomNoise(eps=0.0),
        dataclasses.replace(APGD_TARGETED, eps=0.0),
        la.LocalizedAutoAttack(eps=0.0, targets=3),
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", ["fooled", "worst"])
def test_without_a_budget_nothing_changes_and_nothing_is_spent(attack, stop, model, data):
    result = la.run_attack(model, data, attack, stop=stop)
    np.testing.assert_array_equal(result.images, data[0])
    np.testing.assert_array_equal(result.fooled, ~result.natural_correct)
    np.testing.assert_allclose(result.loss, result.natural_loss, rtol=1e-5)
    assert result.gradient_evaluations == result.queries == 0 and np.isnan(result.clipped).all()


# What it costs


@pytest.mark.parametrize("attack", [la.PGD(eps=0.1, steps=5, restarts=3), ENSEMBLE], ids=str)
def test_a_natural_error_costs_nothing(attack, model, data):
    image, _, mask = data
    wrong = (predicted(model, image) + 1) % 4
    result = la.run_attack(model, (image, wrong, mask), attack)
    assert result.fooled.all() and result.gradient_evaluations == result.queries == 0


@pytest.mark.parametrize("batch_size", [7, 128])
def test_an_image_leaves_at_the_first_point_that_fools(batch_size, model, data):
    image, label, mask = data
    attack = la.PGD(eps=0.03, steps=5)
    result = la.run_attack(model, data, attack, batch_size=batch_size)
    # The plain loop, cut off after each step: point k is judged by the gradient pass of step k + 1, the last by none.
    cost, first, waiting = np.zeros(N, int), image.copy(), result.natural_correct.copy()
    for k in range(1, attack.steps + 1):
        cost[waiting] = min(k + 1, attack.steps)
        cut_off = la.PGD(eps=attack.eps, steps=k, step_size=attack.alpha, keep="last")
        x = cut_off(model, image, label, mask=mask).numpy()
        fooled = waiting & (predicted(model, x) != label)
        first[fooled] = x[fooled]
        waiting &= ~fooled
    np.testing.assert_allclose(result.images[result.fooled], first[result.fooled], atol=1e-5)
    assert result.gradient_evaluations == cost.sum()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (la.PGD(eps=0.03, steps=2), la.PGD(eps=0.03, steps=2, restarts=3)),
        (la.APGD(eps=0.03, steps=3, loss="margin", targets=1), la.APGD(eps=0.03, steps=3, loss="margin", targets=3)),
        (la.Square(eps=0.04, queries=4), la.Square(eps=0.04, queries=4, restarts=3)),
        (Ensemble(eps=0.03, members=ENSEMBLE.members[:1]), ENSEMBLE),
    ],
    ids=str,
)
def test_restarts_targets_and_members_are_only_for_those_that_withstood(short, long, model, data):
    first, result = la.run_attack(model, data, short), la.run_attack(model, data, long)
    assert (result.fooled >= first.fooled).all()
    withstood, (evaluations, queries) = np.sum(~first.fooled), np.subtract(budgets(long), budgets(short))
    more = result.gradient_evaluations - first.gradient_evaluations, result.queries - first.queries
    assert more[0] <= evaluations * withstood and more[1] <= queries * withstood
    endured = np.sum(~result.fooled)
    assert more[0] >= evaluations * endured and more[1] >= queries * endured


def test_an_ensembles_verdict_and_price_are_those_of_its_members_up_to_the_first_that_fools(model, data):
    """A member alone, in its place: in the others' places as many runs that look at the image and take no step."""

    def run(members):
        ensemble = dataclasses.replace(ENSEMBLE, members=members)
        parts = list(stream.attack_stream(model, data, ensemble, batch_size=32))
        order = np.argsort(np.concatenate([part["index"] for part in parts]))
        names = ("best_fooled", "evaluations", "queries")
        return (np.concatenate([part[name] for part in parts])[order] for name in names)

    fooled, evaluations, queries = run(ENSEMBLE.members)
    standing, spent, left = predicted(model, data[0]) == data[1], np.zeros((2, N), int), []
    for turn in range(3):
        alone = [la.Square(eps=0.0, restarts=member.runs) for member in ENSEMBLE.members]
        alone[turn] = ENSEMBLE.members[turn]
        fooled_alone, *price = run(tuple(alone))
        spent += np.where(standing, price, 0)
        standing &= ~fooled_alone
        left.append(np.sum(standing))
    assert 0 < left[2] < left[1] < left[0]  # each member breaks some that the ones before did not
    np.testing.assert_array_equal(fooled, ~standing)
    np.testing.assert_array_equal([evaluations, queries], spent)


def test_clipped_is_the_share_of_steps_that_the_range_cuts_short(model):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 2, (40, 6, 5, 1)).astype("float32")  # about half of all steps lead out
    image[20:] = rng.uniform(0.4, 0.6, (20, 6, 5, 1))  # far from both ends
    label, full = predicted(model, image), np.ones(image.shape)
    label[::2] = (label[::2] + 1) % 4
    for stop in ("worst", "fooled"):
        result = la.run_attack(model, (image, label, full), la.FGSM(eps=0.1), stop=stop)
        stepped = result.natural_correct | (stop == "worst")
        assert abs(np.nanmean(result.clipped[:20]) - 0.5) < 0.15 and np.nanmax(result.clipped[20:]) == 0
        np.testing.assert_array_equal(np.isnan(result.clipped), ~stepped)


@pytest.mark.parametrize(
    ("runs", "traces"),
    [
        # The logits of the input check, the verdict, the step: each traced once, for any number of images.
        ([(la.PGD(eps=0.2, steps=3), 64), (ATTACKS[1], 5), (la.PGD(eps=0.1, restarts=2), 500)], 3),
        ([(APGD, 64), (dataclasses.replace(APGD, eps=0.2, steps=7, restarts=2), 500)], 3),
        ([(SQUARE, 64), (la.Square(eps=0.2, queries=3, restarts=2), 500)], 3),
        (
            [(APGD_TARGETED, 64), (dataclasses.replace(APGD_TARGETED, eps=0.2, restarts=1), 500)],
            5,
        ),  # and the ranking, at the start and later
    ],
    ids=lambda value: str(value[0][0]) if isinstance(value, list) else "",
)
def test_another_budget_or_batch_is_not_traced_again(runs, traces, model, data):
    calls = []

    def counted(x, training=False):
        calls.append(x.shape)
        return model(x, training=training)

    counted.layers, counted.output_shape = model.layers, model.output_shape
    for attack, batch_size in runs:
        la.run_attack(counted, tuple(part[:100] for part in data), attack, batch_size=batch_size)
    asked = len(runs) * [(8, 6, 5, 1)]  # whether what is compiled is still right
    assert sorted(calls, key=str) == asked + traces * [(None, 6, 5, 1)]


def test_many_attacks_in_turn_leave_nothing_on_stderr(model, data, caplog):
    """TensorFlow warns where a function is traced again and again; a grader counts that as an error."""
    for attack in ATTACKS:
        for n in (20, 33):
            la.run_attack(model, tuple(part[:n] for part in data), attack, batch_size=16)
    assert [record.getMessage() for record in caplog.records] == []


class Scaled(keras.layers.Layer):
    """Multiplies by an attribute, of which its config says nothing."""

    factor = 1.0

    def call(self, x):
        return self.factor * x


def normalized(image, scale=1.0, seed=0):
    """A classifier that starts with a Normalization adapted to `scale * image`, and a Scaled."""
    normalization = keras.layers.Normalization(axis=-1)
    normalization.adapt(scale * image)
    last = keras.layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed))
    return keras.Sequential([keras.Input((6, 5, 1)), normalization, Scaled(), keras.layers.Flatten(), last])


def readapted(model, image, folder):
    model.layers[0].adapt(0.1 * image)


def reloaded(model, image, folder):
    normalized(image, scale=4.0, seed=1).save_weights(folder / "other.weights.h5")
    model.load_weights(folder / "other.weights.h5")


def turned(model, image, folder):
    model.layers[1].factor = -1.0


@pytest.mark.filterwarnings("ignore:the model runs on one device:UserWarning")  # no config tells of what was turned
@pytest.mark.parametrize("change", [readapted, reloaded, turned])
@pytest.mark.parametrize(
    "names",
    [
        pytest.param([None], id="one device"),
        pytest.param(["/CPU:0", "/device:CPU:0"], id="two devices", marks=pytest.mark.slow),
    ],
)
def test_what_is_compiled_follows_every_change_of_the_model(change, names, data, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stream, "devices", lambda: names)
    image, _, mask = data
    model = normalized(image)
    attack, options = la.PGD(eps=0.05, steps=3), {"stop": "worst", "batch_size": 32}
    la.run_attack(model, (image, model(image).numpy().argmax(axis=1), mask), attack, **options)
    change(model, image, tmp_path)
    label = model(image).numpy().argmax(axis=1)
    result = la.run_attack(model, (image, label, mask), attack, **options)
    assert result.natural_correct.all()
    np.testing.assert_array_equal(result.fooled, model(result.images).numpy().argmax(axis=1) != label)
    forget(model)
    again = la.run_attack(model, (image, label, mask), attack, **options)
    np.testing.assert_array_equal(result.images, again.images)
    assert [record.getMessage() for record in caplog.records] == []


def test_an_attack_on_a_model_that_changed_meanwhile_is_compiled_anew(data):
    """Also where other models came in between."""
    image, _, mask = data
    model, attack = normalized(image), la.FGSM(eps=0.05)
    label = model(image).numpy().argmax(axis=1)
    la.run_attack(model, (image, label, mask), attack)
    for _ in range(8):
        la.run_attack(normalized(image), (image[:9], label[:9], mask[:9]), la.RandomNoise(eps=0.1))
    model.layers[1].factor = -1.0
    label = model(image).numpy().argmax(axis=1)
    result = la.run_attack(model, (image, label, mask), attack)
    expected = attack(model, image, label, mask=mask)
    np.testing.assert_allclose(result.images, expected, atol=1e-6)


def test_a_model_goes_with_the_last_name_for_it(data):
    """What is compiled for a model keeps it no longer than its user does."""
    image, label, mask = (part[:20] for part in data)
    model = normalized(image)
    for attack in (la.PGD(eps=0.1, steps=2), APGD, SQUARE):
        la.run_attack(model, (image, label, mask), attack)
    watched = weakref.ref(model)
    del model
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("stop", ["fooled", "worst"])
def test_every_step_is_taken_by_the_same_number_of_slots(stop, model, data, monkeypatch):
    """Until the last images, whose slots become fewer by sixteenths."""
    workers, advance = {}, slots.Slots.advance

    def watched(self, few):
        advance(self, few)
        workers.setdefault(threading.get_ident(), []).append(len(self.state[1].x))

    monkeypatch.setattr(slots.Slots, "advance", watched)
    la.run_attack(model, data, la.PGD(eps=0.03, steps=4), stop=stop, batch_size=32)
    assert len(workers) == 2 and min(sizes[-1] for sizes in workers.values()) < 32
    for sizes in workers.values():
        assert sizes[0] == 32 and sizes == sorted(sizes, reverse=True) and not any(size % 2 for size in sizes)
    monkeypatch.setattr(stream, "on_gpu", lambda: True)
    workers.clear()
    la.run_attack(model, data, la.PGD(eps=0.03, steps=4), stop=stop, batch_size=32)
    assert [set(sizes) for sizes in workers.values()] == [{32}]


def test_both_workers_stop_in_the_middle_of_their_images(model, data):
    before = set(threading.enumerate())
    attack = la.PGD(eps=1e-6, steps=100_000)  # minutes: hardly an image is fooled on the way
    running = stream.attack_stream(model, data, attack, batch_size=16)
    assert not next(running)["natural_correct"].any()  # natural errors come out at once
    workers = set(threading.enumerate()) - before
    assert len(workers) == 2
    running.close()
    assert not any(worker.is_alive() for worker in workers)


def test_a_random_model_has_one_worker_so_that_the_same_draws_come_again(model, data, monkeypatch):
    threads, advance = set(), slots.Slots.advance
    monkeypatch.setattr(slots.Slots, "advance", lambda *a: (threads.add(threading.get_ident()), advance(*a)))
    noise = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.GaussianNoise(0.1, seed=1)])

    def noisy(x, training=False):
        return model(noise(x, training=True), training=training)

    results = []
    for _ in range(2):
        noise.layers[0].seed_generator.state.assign([0, 1])
        results.append(la.run_attack(noisy, data, la.PGD(eps=0.03, steps=4), batch_size=16))
    one, again = results
    assert threads == {threading.get_ident()}
    np.testing.assert_array_equal(one.images, again.images)
    one_batch = tuple(part[:16] for part in data)
    la.run_attack(model, one_batch, la.PGD(eps=0.03, steps=4), batch_size=16)
    assert threads == {threading.get_ident()}  # nor is there work for two
    la.run_attack(model, data, la.PGD(eps=0.03, steps=4), batch_size=16)
    assert len(threads) == 3


@pytest.mark.parametrize("attack", [la.PGD(eps=0.03, steps=4, restarts=2), la.APGD(eps=0.03, steps=4)], ids=str)
def test_the_steps_compile_with_xla(attack, model, data, monkeypatch):
    """A constant number of slots makes that possible. It is off: a CPU pays more to compile than it gains."""
    expected, made = la.run_attack(model, data, attack, batch_size=16), []

    def by_xla(*given):
        compiled = compiled_attack(*given)
        made.append(tf.function(compiled.advance, autograph=False, jit_compile=True))
        return compiled._replace(advance=made[-1])

    compiled_attack = stream.compiled_attack
    monkeypatch.setattr(stream, "compiled_attack", by_xla)
    monkeypatch.setattr(stream.Slots, "shrink", lambda *_: None)  # as on a GPU: XLA would compile for each size
    result = la.run_attack(model, data, attack, batch_size=16)
    assert [advance.experimental_get_tracing_count() for advance in made] == [1, 1]  # one of each worker
    np.testing.assert_array_equal(result.fooled, expected.fooled)
    np.testing.assert_allclose(result.loss, expected.loss, atol=1e-4)
    assert result.gradient_evaluations == expected.gradient_evaluations


def test_a_model_that_tosses_coins_is_compiled_anew_without_a_word(data, caplog):
    model = keras.Sequential(
        [
            keras.Input((6, 5, 1)),
            Scaled(),
            keras.layers.Flatten(),
            keras.layers.Dense(4, kernel_initializer="he_normal"),
        ]
    )

    def noisy(x, training=False):
        return model(x + tf.random.normal(tf.shape(x)), training=training)

    for _ in range(6):
        assert len(la.run_attack(noisy, tuple(part[:20] for part in data), la.FGSM(eps=0.1))) == 20
    assert [record.getMessage() for record in caplog.records] == []


# Repeatable


@pytest.mark.parametrize("stop", ["fooled", "worst"])
@pytest.mark.parametrize("attack", ATTACKS[2::3], ids=str)
def test_a_seed_repeats_bit_for_bit(attack, stop, model, data):
    runs = [la.run_attack(model, data, attack, seed=5, stop=stop, batch_size=32) for _ in range(2)]
    assert_same(*runs)


def test_verdicts_do_not_depend_on_the_batch_size_but_points_on_the_seed(natural_model, digits_test):
    some = digits_test.take(96)
    attack = la.PGD(eps=0.1, steps=5, restarts=2)
    runs = [la.run_attack(natural_model, some, attack, batch_size=size) for size in (10, 96)]
    np.testing.assert_array_equal(runs[0].fooled, runs[1].fooled)
    other = la.run_attack(natural_model, some, attack, seed=1)
    assert (other.images[other.natural_correct] != runs[1].images[other.natural_correct]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_the_model_stays_as_it_is(policy, tiny_model):
    model, rng = tiny_model(3, policy), np.random.default_rng(0)
    before = model.get_weights()
    data = rng.random((20, 7, 6, 3), "float32"), rng.integers(0, 3, 20), rng.random((20, 7, 6, 1)) < 0.5
    result = la.run_attack(model, data, la.PGD(eps=0.2, steps=3), stop="worst", batch_size=8)
    assert result.images.dtype == result.loss.dtype == np.float32
    np.testing.assert_array_equal(result.images[~data[2][..., 0]], data[0][~data[2][..., 0]])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Where the data comes from


def as_dataset(image, label, mask):
    return tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label))


def test_every_form_of_the_same_data_gives_the_same_result(model, data):
    image, label, mask = data
    attack = la.PGD(eps=0.03, steps=2)
    expected = la.run_attack(model, data, attack)
    forms = {
        "unbatched": as_dataset(*data),
        "batched, the last one ragged": as_dataset(*data).batch(64),
        "batches larger than the attack's": as_dataset(*data).batch(N),
        "tensors": tuple(map(tf.constant, data)),
        "a list": list(data),
        "boolean masks": (image, label, mask.astype(bool)),
        "of unknown length": as_dataset(*data).filter(lambda *_: True),
    }
    for name, form in forms.items():
        result = la.run_attack(model, form, attack)
        np.testing.assert_array_equal(result.fooled, expected.fooled, err_msg=name)
        np.testing.assert_allclose(result.images, expected.images, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64"])
def test_any_integer_dtype_of_labels(dtype, model, data):
    image, label, mask = data
    attack = la.FGSM(eps=0.05)
    for form in (data, as_dataset(*data)):
        expected = la.run_attack(model, form, attack)
        typed = image, label.astype(dtype), mask
        assert_same(la.run_attack(model, typed if form is data else as_dataset(*typed), attack), expected)


def test_without_masks_the_full_region_is_left(model, data):
    image, label, _ = data
    attack = la.PGD(eps=0.03, steps=2)
    expected = la.run_attack(model, data, attack, region="full")
    unmasked = tf.data.Dataset.from_tensor_slices((image, label))
    for form in ((image, label), unmasked, unmasked.batch(16)):
        np.testing.assert_array_equal(la.run_attack(model, form, attack, region="full").fooled, expected.fooled)


def test_images_are_kept_only_if_asked(model, data):
    attack = la.PGD(eps=0.03, steps=2)
    kept, dropped = (la.run_attack(model, data, attack, keep_images=keep) for keep in (True, False))
    assert dropped.images is None
    np.testing.assert_array_equal(dropped.fooled, kept.fooled)


# What goes wrong on the way


@pytest.mark.parametrize("keep_images", [True, False])
def test_an_interrupted_run_hands_over_what_it_finished(keep_images, model, data, monkeypatch):
    def interrupted(data, size):
        yield from itertools.islice(batches(data, size), 5)
        raise KeyboardInterrupt

    whole = la.run_attack(model, data, ATTACKS[1], keep_images=keep_images, batch_size=16)
    x, y, mask = data
    dataset = tf.data.Dataset.from_tensor_slices(({"image": x, "mask": mask}, y))
    run, done = stream._run, []

    def watched(*arguments):
        for jobs in run(*arguments):
            done.extend(jobs["index"])
            yield jobs

    monkeypatch.setattr(stream, "batches", interrupted)
    monkeypatch.setattr(stream, "_run", watched)
    with pytest.raises(KeyboardInterrupt) as caught:
        la.run_attack(model, dataset, ATTACKS[1], keep_images=keep_images, batch_size=16)
    partial = caught.value.partial
    assert 0 < len(partial) < N and partial.index.tolist() == sorted(done)  # all that either worker had finished
    np.testing.assert_array_equal(partial.fooled, whole.fooled[partial.index])
    np.testing.assert_array_equal(partial.loss, whole.loss[partial.index])
    if keep_images:
        np.testing.assert_array_equal(partial.images, whole.images[partial.index])
    else:
        assert partial.images is None


def test_an_interrupt_at_once_hands_over_nothing(model, data, monkeypatch):
    def interrupted(data, size):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(stream, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        la.run_attack(model, data, ATTACKS[1])
    assert len(caught.value.partial) == 0


@pytest.mark.parametrize("stop", ["fooled", "worst"])
def test_nonfinite_gradients_are_flagged_image_by_image(stop):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 5, 1)),
            layers.Lambda(lambda x: keras.ops.sqrt(1.0 - x)),  # an infinite gradient at x = 1
            layers.Flatten(),
            layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(0)),
        ]
    )
    rng = np.random.default_rng(0)
    image = rng.uniform(0.2, 0.8, (40, 6, 5, 1)).astype("float32")
    bad = rng.random(40) < 0.4
    image[bad, 2, 3] = 1.0
    label, mask = rng.integers(0, 3, 40), np.ones(image.shape)
    attack = la.PGD(eps=0.1, steps=2, random_start=False)
    result = la.run_attack(model, (image, label, mask), attack, stop=stop, batch_size=9)
    attacked = result.natural_correct | (stop == "worst")
    np.testing.assert_array_equal(result.nonfinite, bad & attacked)
    assert np.isfinite(result.loss).all() and (result.images[bad, 2, 3] == 1).all()


@pytest.mark.parametrize("keep_images", [True, False])
def test_progress_counts_every_image_once(keep_images, model, data, capsys):
    la.run_attack(model, data, ATTACKS[1], keep_images=keep_images, batch_size=32, progress=True)
    shown = capsys.readouterr().out
    assert f"{N}/{N}" in shown and str(ATTACKS[1]) in shown
    la.run_attack(model, data, ATTACKS[1], batch_size=32)
    assert capsys.readouterr().out == ""


def test_logits_that_are_not_numbers_are_no_right_answer():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.set_weights([np.full((16, 3), np.nan, np.float32), np.zeros(3, np.float32)])
    data = np.zeros((2, 4, 4, 1), np.float32), np.zeros(2, int)  # class 0 is what argmax makes of NaN
    result = la.run_attack(model, data, la.PGD(eps=0.1, steps=2), region="full")
    assert not result.natural_correct.any() and result.fooled.all()


def test_bad_images_late_in_an_array_stop_it_before_any_work_and_in_a_stream_keep_what_is_done(
    natural_model, digits_test
):
    x, y, mask = la.to_arrays(digits_test.take(40))
    x[-1, 0, 0, 0] = np.nan
    attack = la.PGD(eps=0.1, steps=2)
    with pytest.raises(ValueError, match="NaN") as raised:
        la.run_attack(natural_model, (x, y, mask), attack, batch_size=8)
    assert len(raised.value.partial) == 0
    dataset = tf.data.Dataset.from_tensor_slices(({"image": x, "mask": mask}, y))
    with pytest.raises(ValueError, match="NaN") as raised:
        la.run_attack(natural_model, dataset, attack, batch_size=8)
    assert 0 < len(raised.value.partial) < 40


@pytest.mark.parametrize("keep_images", [True, False])
def test_what_is_kept_of_a_finished_image(keep_images, model, data, monkeypatch):
    """Numbers alone, or numbers and the attacked image: no mask, no natural image, no point on the way."""
    monkeypatch.setattr(stream, "assembled", lambda finished, _: finished)
    for part in la.run_attack(model, data, ATTACKS[1], keep_images=keep_images, batch_size=16):
        assert {name for name, values in part.items() if values.ndim > 1} == ({"best_image"} if keep_images else set())
