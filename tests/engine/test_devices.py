"""Sharing work out over devices: every item once, the same hands each time, no error lost, no thread left behind."""

import contextlib
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.engine import devices
from locadv_tf.engine.kept import forget

NAMES = ["CPU:0", "/device:CPU:0"]


@given(items=st.lists(st.integers()), n=st.integers(1, 4), order=st.lists(st.integers(0, 3), max_size=40))
def test_items_are_dealt_in_turn_whoever_asks_first(items, n, order):
    hands = devices.deal(items, n)
    taken = [[] for _ in hands]
    for i in order:  # some ask early and often
        taken[i % n] += [card for card in [next(hands[i % n], None)] if card is not None]
    for hand, cards in zip(hands, taken, strict=True):
        cards += list(hand)
    assert taken == [items[i::n] for i in range(n)]


def test_streams_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=20)

    def stream(i):
        barrier.wait()  # passes only if the other is on its way, too
        yield from (f"{i}{j}" for j in range(3))

    got = list(devices.together([("CPU:0", stream(0)), ("/device:CPU:0", stream(1))]))
    assert sorted(got) == ["00", "01", "02", "10", "11", "12"]


def test_an_error_in_one_ends_all_and_arrives():
    def endless():
        while True:
            time.sleep(0.01)
            yield 1

    def broken():
        yield 2
        raise ValueError("late trouble")

    before = threading.active_count()
    with pytest.raises(ValueError, match="late trouble"):
        list(devices.together([("CPU:0", endless()), ("/device:CPU:0", broken())]))
    assert threading.active_count() == before


def test_whoever_stops_listening_stops_all():
    closed = []

    def endless(i):
        try:
            while True:
                yield i
        finally:
            closed.append(i)

    before = threading.active_count()
    stream = devices.together([("CPU:0", endless(0)), ("/device:CPU:0", endless(1))])
    next(stream)
    stream.close()
    assert sorted(closed) == [0, 1] and threading.active_count() == before


def test_copies_have_the_models_weights_and_follow_them(tiny_model):
    model = keras.models.clone_model(tiny_model())
    for shift in (0.0, 1.0):
        model.set_weights([weight + shift for weight in model.get_weights()])
        for copy in devices.copies(model, ["CPU:0", "/device:CPU:0"]).values():
            assert copy is not model
            for mine, theirs in zip(model.get_weights(), copy.get_weights(), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    assert devices.copies(model, [None]) == {None: model}


@pytest.mark.parametrize("nested", [False, True])
def test_copies_of_an_adapted_normalization_answer_like_the_model_and_follow_it(nested):
    x = np.random.default_rng(0).random((16, 6, 6, 1), "float32")
    normalization = keras.layers.Normalization(axis=-1)
    first = keras.Sequential([keras.Input((6, 6, 1)), normalization]) if nested else normalization
    model = keras.Sequential([keras.Input((6, 6, 1)), first, keras.layers.Flatten(), keras.layers.Dense(3)])
    for scale in (3.0, 0.1):
        normalization.adapt(scale * x)
        for copy in devices.copies(model, NAMES).values():
            assert copy is not model
            np.testing.assert_allclose(copy(x), model(x), atol=1e-5)


def test_clones_are_kept_until_the_model_is_forgotten(tiny_model):
    model = tiny_model()
    one, same = devices.copies(model, NAMES), devices.copies(model, NAMES)
    forget(model)
    other = devices.copies(model, NAMES)
    assert one == same and not set(map(id, one.values())) & set(map(id, other.values()))


class Own(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x, training=False):
        return self.inner(x, training=training)


class OwnWithAConfigThatDoesNotFit(Own):
    def get_config(self):
        return {}


@pytest.mark.parametrize("kind", [Own, OwnWithAConfigThatDoesNotFit])
def test_a_model_that_cannot_be_cloned_stays_where_it_is(kind, tiny_model):
    model = kind(tiny_model())
    with pytest.warns(UserWarning, match=f"{NAMES[1]} stay idle: it cannot be cloned .* get_config"):
        assert devices.copies(model, NAMES) == {None: model}


class Times(keras.layers.Layer):
    """Its config does not tell by how much it multiplies."""

    factor = 1.0

    def call(self, x):
        return self.factor * x


def test_a_model_whose_clones_answer_otherwise_stays_where_it_is():
    x = np.random.default_rng(0).random((4, 6, 6, 1), "float32")
    for factor in (1.0, 2.0):
        model = keras.Sequential([keras.Input((6, 6, 1)), Times(), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.layers[0].factor = factor
        with pytest.warns(UserWarning, match="clones answer otherwise") if factor == 2 else contextlib.nullcontext():
            assert (devices.copies(model, NAMES, x) == {None: model}) == (factor == 2)


def test_what_is_kept_on_a_model_is_not_saved_with_it(tiny_model, tmp_path):
    model, x = tiny_model(), np.random.default_rng(0).random((4, 6, 6, 1), "float32")
    x = x[:, : model.input_shape[1], : model.input_shape[2]]
    devices.copies(model, NAMES)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.load_weights(tmp_path / "model.weights.h5")
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))
    assert (tmp_path / "model.weights.h5").stat().st_size < 2 * sum(w.nbytes for w in model.get_weights()) + 60_000


@pytest.mark.parametrize(
    ("shape", "size", "on_a_cpu"),
    [
        ((28, 28, 1), 2048, 96),
        ((32, 32, 3), 2048, 96),
        ((64, 64, 3), 682, 85),
        ((128, 128, 3), 170, 32),
        ((224, 224, 3), 55, 32),
        ((4000, 4000, 3), 32, 32),
    ],
    ids=str,
)
def test_a_gpu_gets_larger_batches_and_large_images_smaller_ones(shape, size, on_a_cpu, monkeypatch):
    one = np.zeros((1, *shape), np.float32), np.zeros(1, np.int64)
    for data in (one, tf.data.Dataset.from_tensor_slices(one), tf.data.Dataset.from_tensor_slices(one).batch(1)):
        assert devices.batch_size_for(data) == on_a_cpu
        with monkeypatch.context() as patch:
            patch.setattr(devices, "on_gpu", lambda: True)
            assert devices.batch_size_for(data) == size
