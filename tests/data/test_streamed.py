"""Streaming: the same images, labels and masks as in memory, bit for bit; what refuses; what survives."""

import contextlib
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf.data import memory, streamed

SHAPE, TRAIN, TEST = (12, 10, 3), 40, 25


class ToyStream(tfds.core.GeneratorBasedBuilder):
    """Noise with a bright box whose place and size vary, in three files; in the other set the box is drawn, too."""

    VERSION = tfds.core.Version("1.0.0")
    DRAWN = False

    def _info(self):
        features = {"image": tfds.features.Image(shape=SHAPE), "label": tfds.features.ClassLabel(num_classes=3)}
        if self.DRAWN:
            features["outline_mask"] = tfds.features.Image(shape=(*SHAPE[:2], 1))
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        parts = {"train": range(TRAIN), "validation": range(5), "test": range(100, 100 + TEST)}
        return {part: self._generate_examples(numbers) for part, numbers in parts.items()}

    def _generate_examples(self, numbers):
        for i in numbers:
            rng = np.random.default_rng(i)
            box = np.zeros((*SHAPE[:2], 1), np.uint8)
            box[3 : 6 + i % 5, 2 : 5 + i % 4] = 1
            image = rng.integers(0, 90, SHAPE, np.uint8) + 150 * box
            yield i, {"image": image, "label": i % 3} | ({"outline_mask": box} if self.DRAWN else {})


class ToyStreamDrawn(ToyStream):
    """With masks."""

    DRAWN = True


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A TFDS folder with both sets; a chunk holds seven images."""
    folder = tmp_path_factory.mktemp("streams")
    for toy in (ToyStream, ToyStreamDrawn):
        toy(data_dir=folder).download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        patch.setattr(streamed, "AT_ONCE", 7 * int(np.prod(SHAPE)))
        yield folder


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCADV_CACHE_DIR", str(tmp_path))
    return tmp_path / "masks"


def read(data):
    rows = list(data.as_numpy_iterator())
    return [np.stack(column) for column in zip(*((x["image"], label, x["mask"]) for x, label in rows), strict=True)]


def same(one, other):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def model(outputs=3):
    layers = keras.layers
    made = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(outputs, kernel_initializer="zeros")])
    made.set_weights([np.random.default_rng(0).normal(size=w.shape) / 9 for w in made.get_weights()])
    return made


DRAWN = {
    "name": st.sampled_from(["toy_stream", "toy_stream_drawn"]),
    "split": st.sampled_from(["train", "test", "train[5:33]", "test[-9:]", "train[10%:60%]", "test[3:4]"]),
    "mask": st.sampled_from([None, "border", "random", "threshold", "center", "full", "ground_truth"]),
    "limit": st.none() | st.integers(1, 45),
    "stratify": st.booleans(),
    "seed": st.integers(0, 99),
    "image_size": st.sampled_from([None, (9, 8)]),
}


@settings(max_examples=8)
@given(st.fixed_dictionaries(DRAWN))
def test_a_stream_is_what_it_would_be_in_memory(toys, asked):
    assume(asked["mask"] != "ground_truth" or asked["name"] == "toy_stream_drawn")
    kept, stream = la.load_data(**asked), la.load_data(**asked, memory=0)
    assert memory.fits(kept) and not memory.fits(stream)
    assert kept.element_spec == stream.element_spec and len(kept) == len(stream)
    assert same(read(stream), read(kept))


def test_options_of_masks_reach_the_stream(toys):
    for mask, options in (
        ("threshold", {"value": 0.5}), ("border", {"clusters": 2}), ("center", {"foreground": 0.1}),
        ("random", {"smoothness": 1.0}), ("ground_truth", {"feature": "outline_mask"}),
    ):  # fmt: skip
        asked = {"mask": mask, "mask_options": options}
        kept, stream = (read(la.load_data("toy_stream_drawn", "test", memory=gb, **asked)) for gb in (None, 0))
        assert same(kept, stream)


def test_what_is_streamed_is_a_matter_of_size(toys, monkeypatch):
    size = TRAIN * 12 * 10 * (3 + 1)
    for gb, fits in ((size / 2**30, True), ((size - 1) / 2**30, False), (1, True), (None, True)):
        assert memory.fits(la.load_data("toy_stream", memory=gb)) == fits
    stream = la.load_data("toy_stream", memory=(size - 1) / 2**30)
    assert not memory.fits(stream.map(lambda x, y: (x, y))) and not memory.fits(stream.batch(4))
    assert memory.fits(stream.take(TRAIN - 1)) and memory.fits(la.load_data("toy_stream", limit=9, memory=size / 2**31))
    assert same(la.to_arrays(stream.take(9)), [part[:9] for part in read(stream)])
    monkeypatch.setattr(memory, "machine", lambda: 4 * (size - 1))
    assert not memory.fits(la.load_data("toy_stream")) and memory.fits(la.load_data("toy_stream", memory=1))


# Who reads it


@pytest.mark.parametrize("mask", ["border", "random"])
def test_several_readers_see_the_same(toys, own_cache, mask):
    stream, seen = la.load_data("toy_stream", mask=mask, memory=0), {}
    readers = [threading.Thread(target=lambda i=i: seen.update({i: read(stream)})) for i in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    whole = read(la.load_data("toy_stream", mask=mask))
    assert sorted(seen) == [0, 1, 2, 3] and all(same(each, whole) for each in seen.values())
    for i in range(3):
        assert same(read(stream.shard(3, i)), [part[i::3] for part in whole])


def test_attacks_and_measurements_are_those_of_memory(toys):
    kept, stream = (la.load_data("toy_stream", "test", memory=gb) for gb in (None, 2e-6))  # four images fit
    attack = la.PGD(eps=0.2, steps=3)
    assert la.evaluate(model(), kept, {"PGD": attack}) == la.evaluate(model(), stream, {"PGD": attack})
    one, other = (la.run_attack(model(), data, attack) for data in (kept, stream))
    assert one.images.shape == (TEST, *SHAPE) and other.images is None
    np.testing.assert_array_equal(one.loss, other.loss)
    np.testing.assert_array_equal(one.fooled, other.fooled)
    assert la.run_attack(model(), stream.take(3), attack).images.shape == (3, *SHAPE)


@pytest.mark.parametrize("name", ["LAT", "random mask"])
def test_training_streams_and_repeats(toys, monkeypatch, name):
    monkeypatch.setattr("locadv_tf.training.pipeline._read", None)  # nothing is read into memory
    train, validation = (la.load_data("toy_stream", split, memory=0) for split in ("train", "validation"))

    def run():
        how = la.recipe(name, train, attack=la.FGSM(eps=0.1), validation=validation, epochs=2)
        trained = model()
        return la.train_classifier(trained, **how, batch_size=16, class_weight="balanced"), trained.get_weights()

    (history, weights), (again, same_weights) = run(), run()
    assert history == again and len(history["val_natural_loss"]) == 2
    assert all(map(np.array_equal, weights, same_weights)) and not np.array_equal(weights[0], model().get_weights()[0])


def test_random_masks_of_a_training_are_those_of_memory(toys):
    kept, stream = (la.load_data("toy_stream", memory=gb) for gb in (None, 0))
    options = {"attack": la.FGSM(eps=0.1), "seed": 3}
    expected = la.recipe("random mask", kept, validation=kept, **options)
    found = la.recipe("random mask", stream, validation=stream, **options)
    for split in ("train", "validation"):
        assert len(found[split]) == TRAIN and found[split].element_spec == expected[split].element_spec
        assert same(read(found[split]), read(expected[split]))


# What refuses


def test_what_keeps_everything_refuses(toys):
    stream = la.load_data("toy_stream", memory=1e-6)
    attack = la.FGSM(eps=0.1)
    for call in (
        lambda: la.to_arrays(stream),
        lambda: la.to_arrays(stream.batch(4)),
        lambda: la.run_attack(model(), stream, attack, keep_images=True),
        lambda: la.smallest_eps(model(), stream, attack),
        lambda: la.verdicts.check(model(), stream, attack),
    ):
        with pytest.raises(ValueError, match=r"memory, and these take more than the \S+ GB .* Take some, data.take"):
            call()


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        (
            "toy_stream",
            {"mask": "saliency", "mask_options": {"model": len}},
            r"'saliency' cannot be streamed, .* takes",
        ),
        ("toy_stream", {"mask": "random", "mask_options": {"within": 1}}, "option 'within' cannot be streamed"),
        ("toy_stream", {"mask_options": {"value": 2}, "mask": "threshold"}, "value=2 is out of range"),
        ("toy_stream", {"mask": "threshold", "mask_options": {"value": "otsu"}}, "needs grey images"),
        ("toy_stream", {"memory": -1}, r"memory=-1 is out of range; expected a finite number, at least 0"),
        ("toy_stream", {"memory": "4 GB"}, "memory='4 GB' is out of range"),
        ("digits", {}, r"memory=0 passed for 'digits'; expected for TFDS sets only\. Leave it out"),
        ("composite", {}, "memory=0 passed for 'composite'"),
    ],
)
def test_what_cannot_be_streamed_is_told_before_any_work(toys, monkeypatch, name, asked, message):
    monkeypatch.setattr(streamed, "chosen_examples", None)
    with pytest.raises(ValueError, match=message) as error:
        la.load_data(name, **{"memory": 0, **asked})
    assert "\n" not in str(error.value)


# What survives


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("hurt", [damage, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_damaged_masks_are_computed_anew(toys, own_cache, hurt):
    stream = la.load_data("toy_stream", memory=0)
    whole = read(stream)
    files = sorted(own_cache.iterdir())
    assert len(files) == -(-TRAIN // 7)
    for path in files[::2]:
        hurt(path)
    assert same(read(stream), whole) and sorted(own_cache.iterdir()) == files


def test_a_reader_that_is_stopped_leaves_what_it_finished(toys, own_cache, monkeypatch):
    stream, chunks, compute = la.load_data("toy_stream", memory=0), [], la.masks.background_mask

    def stopped(source, images, **options):
        if len(chunks) == 3:
            raise KeyboardInterrupt
        chunks.append(len(images))
        return compute(source, images, **options)

    with monkeypatch.context() as patch, contextlib.suppress(BaseException):
        patch.setattr(la.masks, "background_mask", stopped)
        read(stream)
    assert chunks == [7, 7, 7] and len(list(own_cache.iterdir())) == 3
    (own_cache / "half.tmp").write_bytes(b"of a process that was killed")
    chunks.clear()

    def counted(source, images, **options):
        chunks.append(len(images))
        return compute(source, images, **options)

    monkeypatch.setattr(la.masks, "background_mask", counted)
    assert same(read(stream), read(la.load_data("toy_stream", memory=1)))
    assert sorted(chunks) == [5, 7, 7, 40]  # the rest of the stream, and all at once


READER = """
import time
import locadv_tf as la
from locadv_tf.data import streamed

streamed.AT_ONCE = 7 * 12 * 10 * 3
compute = la.masks.background_mask
la.masks.background_mask = lambda *args, **options: time.sleep(0.5) or compute(*args, **options)
list(la.load_data("toy_stream", memory=0))
"""


@pytest.mark.slow
def test_a_reader_that_is_killed_leaves_what_it_finished(toys, own_cache):
    whole = read(la.load_data("toy_stream"))
    before = set(own_cache.iterdir())
    with subprocess.Popen([sys.executable, "-c", READER]) as reader:
        end = time.monotonic() + 60
        while len(set(own_cache.iterdir()) - before) < 2 and time.monotonic() < end and reader.poll() is None:
            time.sleep(0.05)
        reader.kill()
    left = len(set(own_cache.glob("*.npz")) - before)
    assert 1 <= left < 6
    assert same(read(la.load_data("toy_stream", memory=0)), whole)


def test_what_takes_the_masks_does_not_matter_to_tensorflow_graphs(toys):
    """In a compiled function and with the tuner on, as in a user's own loop."""
    stream = la.load_data("toy_stream", memory=0).batch(8).prefetch(2)

    @tf.function
    def areas():
        return stream.reduce(tf.zeros(()), lambda total, row: total + tf.reduce_sum(row[0]["mask"]))

    assert float(areas()) == read(la.load_data("toy_stream"))[2].sum()
