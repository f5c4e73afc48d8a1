"""Loading: the embedded digits, TFDS sets (tiny ones of our own stand in for downloads), splits, masks, the cache."""

import concurrent.futures
import contextlib
import http.server
import re
import socket
import threading
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf import network
from locadv_tf.data import cache, load, masks, prepared, sources
from locadv_tf.data.composite import composite
from locadv_tf.data.load import background_masks


class ToyImages(tfds.core.GeneratorBasedBuilder):
    """Sixty images of 6x6 with a train split alone. Image i is i everywhere, except for a bright square."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE, DTYPE, HIDDEN = (6, 6, 3), np.uint8, False
    SPLITS = types.MappingProxyType({"train": range(60)})

    def _info(self):
        image = tfds.features.Image(shape=self.SHAPE, dtype=self.DTYPE)
        label = tfds.features.ClassLabel(names=["a", "b", "c", "d"])
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": image, "label": label})
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(numbers) for split, numbers in self.SPLITS.items()}

    def _generate_examples(self, numbers):
        for i in numbers:
            height, width = (6 + i % 3, 7) if None in self.SHAPE else self.SHAPE[:2]
            image = np.full((height, width, self.SHAPE[-1]), i, self.DTYPE)
            image[2:4, 2:4] = 255
            yield i, {"image": image, "label": -1 if self.HIDDEN else i % 4}


class ToyFull(ToyImages):
    """With all three splits."""

    SPLITS = types.MappingProxyType({"train": range(20), "validation": range(20, 30), "test": range(30, 35)})


class ToyVarying(ToyImages):
    """Images of varying size."""

    SHAPE = (None, None, 3)


class ToyHidden(ToyImages):
    """Labels that are not told."""

    HIDDEN = True


class ToyDeep(ToyImages):
    """Sixteen bits per channel."""

    DTYPE = np.uint16


class ToyTestOnly(ToyImages):
    """No train split."""

    SPLITS = types.MappingProxyType({"test": range(5)})


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A TFDS folder with the toy sets, prepared; toy_images lies in three files."""
    folder = tmp_path_factory.mktemp("tfds")
    for toy in (ToyImages, ToyFull, ToyVarying, ToyHidden, ToyTestOnly):
        builder = toy(data_dir=folder)
        config = tfds.download.DownloadConfig(num_shards=3) if toy is ToyImages else None
        builder.download_and_prepare(download_config=config)
    return folder


@pytest.fixture
def toy_dir(toys, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(toys))
    return toys


@pytest.fixture
def empty_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing"))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCADV_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "masks"


@pytest.fixture
def mask_calls(monkeypatch):
    """The sources that masks were computed with, as it happens."""
    calls, compute = [], la.masks.background_mask

    def counted(source, *args, **kwargs):
        calls.append(source)
        return compute(source, *args, **kwargs)

    monkeypatch.setattr(la.masks, "background_mask", counted)
    return calls


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# The embedded digits


def test_digits_are_what_design_says(digits_train, digits_validation, digits_test):
    seen = []
    for split, size in ((digits_train, 1197), (digits_validation, 200), (digits_test, 400)):
        inputs, label = split.element_spec
        assert {key: (spec.shape, spec.dtype) for key, spec in inputs.items()} == {
            "image": ((28, 28, 1), tf.float32),
            "mask": ((28, 28, 1), tf.float32),
        }
        assert label.shape == () and label.dtype == tf.int64 and len(split) == size
        images, labels, masks = la.to_arrays(split)
        assert images.min() == 0 and images.max() == 1 and set(np.unique(masks)) == {0, 1}
        np.testing.assert_array_equal(masks, images <= np.float32(0.1))
        counts = np.bincount(labels)
        assert counts.min() >= 0.9 * size / 10 and counts.max() <= 1.1 * size / 10  # stratified
        assert len(set(labels[:100])) == 10  # shuffled
        seen.extend(image.tobytes() for image in images)
    assert len(seen) == len(set(seen)) == 1797  # every digit, each in one split
    assert la.class_names("digits") == [str(digit) for digit in range(10)] == la.class_names("composite")


@pytest.mark.parametrize("exact", [False, True])
def test_a_new_embedded_set_needs_what_contributing_says(exact, monkeypatch):
    """An entry in `_ARRAYS`, the name in `EMBEDDED`: slices, a limit by class, and masks of its own, if it has any."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 6, 6, 1), np.uint8), np.arange(20) % 4
    share = rng.integers(0, 2, x.shape).astype(np.float32)
    splits = {"train": (x, y, share) if exact else (x, y), "validation": (x[:4], y[:4]), "test": (x[:4], y[:4])}
    monkeypatch.setitem(sources._ARRAYS, "toy", lambda: splits)
    monkeypatch.setattr(load, "EMBEDDED", (*load.EMBEDDED, "toy"))
    image, label, mask = la.to_arrays(la.load_data("toy", "train[4:14]"))
    np.testing.assert_array_equal(image, x[4:14] / np.float32(255))
    np.testing.assert_array_equal(label, y[4:14])
    np.testing.assert_array_equal(mask, share[4:14] if exact else masks.threshold(image))
    few = la.to_arrays(la.load_data("toy", "train", limit=8))
    assert sorted(few[1]) == [0, 0, 1, 1, 2, 2, 3, 3]
    places = [int(np.flatnonzero((x == np.rint(255 * each)).all(axis=(1, 2, 3)))[0]) for each in few[0]]
    np.testing.assert_array_equal(few[2], share[places] if exact else masks.threshold(few[0]))


def test_a_users_pipeline_has_tensorflows_options(digits_train):
    for one in (digits_train, digits_train.map(lambda inputs, label: (inputs, label)).batch(4), digits_train.cache()):
        assert one.options() == tf.data.Options()


def test_a_data_set_repeats_itself(digits_train):
    assert same(la.to_arrays(digits_train), la.to_arrays(digits_train))
    for name in ("digits", "composite"):
        once, again = (la.to_arrays(la.load_data(name, "test", mask="random", seed=2)) for _ in range(2))
        assert same(once, again)


# Splits


@given(st.integers(1, 300), st.data())
def test_slices_are_those_of_numpy(size, draw):
    bound = st.none() | st.integers(-size, size)
    start, stop = draw.draw(bound), draw.draw(bound)
    text = f"test[{'' if start is None else start}:{'' if stop is None else stop}]"
    expected = np.arange(size)[start:stop]
    if len(expected):
        assert sources.resolve_split(text, {"test": size}) == ("test", expected[0], expected[-1] + 1)
    else:
        with pytest.raises(ValueError, match="holds none of"):
            sources.resolve_split(text, {"test": size})


@given(st.integers(1, 2000), st.integers(-100, 100), st.integers(-100, 100))
def test_percentages_are_those_of_tfds(size, start, stop):
    text = f"train[{start}%:{stop}%]"
    split = tfds.core.SplitInfo(
        name="train",
        shard_lengths=[size],
        num_bytes=0,
        filename_template=tfds.core.ShardedFileTemplate(
            dataset_name="toy", data_dir="/", split="train", filetype_suffix="tfrecord"
        ),
    )
    (theirs,) = tfds.core.ReadInstruction.from_spec(text).to_absolute({"train": split})
    begin, end = theirs.from_ or 0, size if theirs.to is None else theirs.to
    assume(begin < end)
    assert sources.resolve_split(text, {"train": size}) == ("train", begin, end)


@settings(max_examples=8)
@given(st.integers(0, 390), st.integers(1, 10))
def test_a_slice_equals_the_slice_of_the_whole(digits_test, start, n):
    part = la.to_arrays(la.load_data("digits", f"test[{start}:{start + n}]"))
    assert same(part, la.to_arrays(digits_test.skip(start).take(n)))


@given(st.integers(1, 500), st.integers(0, 2**32))
def test_a_limit_without_strata_is_a_run_of_neighbours(limit, seed):
    size = 200
    part, start, stop = sources.resolve_split("test", {"test": size}, limit=limit, seed=seed)
    assert part == "test" and 0 <= start < stop <= size and stop - start == min(limit, size)
    assert sources.resolve_split("test", {"test": size}, limit=limit, seed=seed) == (part, start, stop)
    inner = sources.resolve_split("test[50:100]", {"test": size}, limit=limit, seed=seed)
    assert inner[1] >= 50 and inner[2] <= 100


@pytest.mark.parametrize("name", ["digits", "composite", "toy_images"])
def test_a_limit_takes_of_each_class_its_share_in_order(toy_dir, name):
    """Also from a slice; each image keeps its place in the split, and with it its random mask."""
    for split, offset in (("train", 0), ("train[10:40]", 10)):
        images, labels, masks = la.to_arrays(la.load_data(name, split, mask="random", seed=1))
        size, n = len(labels), 4 if name == "toy_images" else 20
        chosen = {"limit": n, "seed": 1}
        read = composite(split, **chosen) if name == "composite" else None
        at = (read.positions if read else sources.read_images(name, split, **chosen)[3]) - offset
        few = la.to_arrays(la.load_data(name, split, mask="random", **chosen))
        assert same(few, (images[at], labels[at], masks[at])) and (np.diff(at) > 0).all()
        share = np.bincount(labels) * n / size
        assert (np.abs(np.bincount(few[1], minlength=len(share)) - share) <= 1).all() and set(few[1]) == set(labels)
        run = la.to_arrays(la.load_data(name, split, mask="random", stratify=False, **chosen))
        starts = [i for i in range(size - n + 1) if np.array_equal(images[i : i + n], run[0])]
        assert any(same(run, (images[i : i + n], labels[i : i + n], masks[i : i + n])) for i in starts)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(1, 100), st.integers(0, 2**32))
def test_stratified_choices(labels, limit, seed):
    labels = np.array(labels)
    chosen = sources.stratified(labels, limit, seed=seed)
    assert len(chosen) == min(limit, len(labels)) and (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, sources.stratified(labels, limit, seed=seed))
    if limit >= len(set(labels)):
        assert set(labels[chosen]) == set(labels)


def test_random_masks_of_a_slice_are_those_of_the_whole():
    whole = la.to_arrays(la.load_data("digits", "test", mask="random"))
    part = la.to_arrays(la.load_data("digits", "test[100:110]", mask="random"))
    assert same(part, [array[100:110] for array in whole])


def test_seeds_draw_different_subsets():
    starts = {sources.resolve_split("train", {"train": 54_000}, limit=4000, seed=seed)[1] for seed in range(20)}
    assert len(starts) == 20 and min(starts) < 10_000 and max(starts) > 40_000
    for stratify in (True, False):
        read = {"limit": 100, "stratify": stratify}
        one, other = (la.to_arrays(la.load_data("digits", seed=seed, **read)) for seed in (0, 1))
        assert one[0].shape == (100, 28, 28, 1) and not np.array_equal(one[0], other[0])


# TFDS


def test_splits_that_tfds_lacks_are_carved(toy_dir):
    assert sources.split_sizes("toy_images") == {"train": 48, "validation": 6, "test": 6}
    assert sources.split_sizes("toy_full") == {"train": 20, "validation": 10, "test": 5}
    for name, expected in (("toy_images", range(60)), ("toy_full", range(35))):
        pixels = [la.to_arrays(la.load_data(name, split, mask="full"))[0][:, 0, 0, 0] for split in sources.SPLITS]
        numbers = np.rint(255 * np.concatenate(pixels)).astype(int)
        assert sorted(numbers) == list(expected)  # nothing lost, nothing twice
    validation = la.to_arrays(la.load_data("toy_full", "validation", mask="full"))[0]
    assert set(np.rint(255 * validation[:, 0, 0, 0])) == set(range(20, 30))  # TFDS's own is kept


@settings(max_examples=8)
@given(st.integers(0, 47), st.integers(1, 48))
def test_a_slice_across_files_equals_the_slice_of_the_whole(toys, start, n):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(toys))
        whole = sources.read_images("toy_images", "train")[:2]
        stop = min(start + n, 48)
        part = sources.read_images("toy_images", f"train[{start}:{stop}]")[:2]
    assert same(part, [array[start:stop] for array in whole])


def test_images_of_varying_size(toy_dir):
    with pytest.raises(ValueError, match=r"'toy_varying' vary in size; expected image_size=\(height, width\)"):
        la.load_data("toy_varying")
    images, labels, masks = la.to_arrays(la.load_data("toy_varying", image_size=(12, 14)))
    assert images.shape == (48, 12, 14, 3) and masks.shape == (48, 12, 14, 1) and labels.max() == 3
    assert la.load_data("toy_images", image_size=[4, 5]).element_spec[0]["image"].shape == (4, 5, 3)


def test_data_dir_is_read_when_asked(toy_dir, monkeypatch, empty_dir):
    with pytest.raises(ValueError, match=r"is not in .*nothing"):
        la.load_data("toy_images", download=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(toy_dir))
    assert len(la.load_data("toy_images", download=False)) == 48
    assert la.class_names("toy_images") == ["a", "b", "c", "d"]


def test_oxford_iiit_pet_has_its_own_masks(tmp_path):
    builder = tfds.builder("oxford_iiit_pet", data_dir=tmp_path)
    template = tfds.core.ShardedFileTemplate(
        dataset_name="oxford_iiit_pet", data_dir=builder.data_path, split="train", filetype_suffix="tfrecord"
    )
    sizes = {"train": 40, "test": 4}
    builder.info.set_splits(
        tfds.core.SplitDict(
            tfds.core.SplitInfo(
                name=name, shard_lengths=[n], num_bytes=0, filename_template=template.replace(split=name)
            )
            for name, n in sizes.items()
        )
    )
    builder.data_path.mkdir(parents=True)
    builder.info.write_to_directory(builder.data_path)
    regions = np.ones((80, 60, 1), np.uint8)  # 1 the pet
    regions[:, :30], regions[:, 30:33] = 2, 3  # 2 the background on the left, 3 the outline

    def pets(self, split, decoders, **kwargs):
        def examples():
            for i in range(4):
                yield {
                    "file_name": f"{i}.jpg",
                    "head_bbox": np.zeros(4, np.float32),
                    "image": np.full((80, 60, 3), 10 * i, np.uint8),
                    "label": 9 * i,
                    "segmentation_mask": regions,
                    "species": 0,
                }

        decoded = tf.data.Dataset.from_generator(
            examples, output_types=self.info.features.dtype, output_shapes=self.info.features.shape
        )
        return decoded.map(lambda example: example | {key: tf.io.encode_png(example[key]) for key in decoders})

    with tfds.testing.mock_data(as_dataset_fn=pets, data_dir=str(tmp_path)):
        assert sources.split_sizes("oxford_iiit_pet", download=False) == {"train": 36, "validation": 4, "test": 4}
        images, labels, masks = la.to_arrays(la.load_data("oxford_iiit_pet", "test"))
        small = la.load_data("oxford_iiit_pet", "test", image_size=(40, 30), mask="ground_truth")
        assert la.to_arrays(small)[2].shape == (4, 40, 30, 1)
    assert images.shape == (4, 128, 128, 3) and labels.tolist() == [0, 9, 18, 27]
    np.testing.assert_array_equal(masks[0, :, :, 0], np.broadcast_to(np.arange(128) < 64, (128, 128)))
    assert len(la.class_names("oxford_iiit_pet")) == 37


def test_mnist_and_cifar10(tfds_dir, monkeypatch, capfd):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("the network was asked"))
    assert sources.split_sizes("mnist") == {"train": 54_000, "validation": 6000, "test": 10_000}
    assert sources.split_sizes("cifar10") == {"train": 45_000, "validation": 5000, "test": 10_000}
    images, labels, masks = la.to_arrays(la.load_data("mnist", limit=500))
    assert images.shape == (500, 28, 28, 1) and set(labels) == set(range(10))
    np.testing.assert_array_equal(masks, images <= np.float32(0.1))  # grey: "threshold"
    images, _, masks = la.to_arrays(la.load_data("cifar10", "test[:50]"))
    assert images.shape == (50, 32, 32, 3)
    np.testing.assert_array_equal(masks, la.masks.border(images))  # colour: "border"
    assert la.class_names("cifar10")[:2] == ["airplane", "automobile"]
    theirs = tfds.load("mnist", data_dir=tfds_dir, split="train[54000:54005]", as_supervised=True, download=False)
    mine = la.load_data("mnist", "validation[:5]")
    for (image, label), (inputs, my_label) in zip(theirs, mine, strict=True):
        np.testing.assert_allclose(inputs["image"], image / 255, atol=1e-6)
        assert label == my_label
    assert capfd.readouterr().err == ""  # no progress bars, no log lines


# Data that is not there


def test_absent_data_is_one_line_within_seconds(empty_dir, monkeypatch):
    monkeypatch.setattr(network, "PROBE", "http://127.0.0.1:9")  # nothing listens there
    start = time.perf_counter()
    with pytest.raises(ValueError) as error:
        la.load_data("mnist")
    message = str(error.value)
    assert time.perf_counter() - start < 5 and "\n" not in message
    for word in ("'mnist'", "nothing", "TFDS_DATA_DIR", "'digits'", "'composite'", "no network"):
        assert word in message


@contextlib.contextmanager
def server(handler):
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, args=[0.01])
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args):
        pass


class Refusal(Answer):
    status = 403


def test_a_network_that_never_answers_is_given_up(empty_dir, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection and says nothing
        monkeypatch.setattr(network, "PROBE", f"http://127.0.0.1:{mute.getsockname()[1]}")
        start = time.perf_counter()
        with pytest.raises(ValueError, match="there is no network"):
            la.load_data("fashion_mnist")
        assert time.perf_counter() - start < 5


def test_a_name_server_that_never_answers_is_given_up(monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: waiting.wait(20))
    start = time.perf_counter()
    assert not prepared._network_answers(seconds=0.3)
    assert time.perf_counter() - start < 2
    waiting.set()


def test_any_answer_is_a_network(monkeypatch):
    for handler in (Answer, Refusal):
        with server(handler) as address:
            monkeypatch.setattr(network, "PROBE", address)
            assert prepared._network_answers()


def test_a_proxy_is_honoured(monkeypatch):
    monkeypatch.setattr(network, "PROBE", "http://nowhere.invalid")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert not prepared._network_answers(seconds=2)
    with server(Answer) as address:
        monkeypatch.setenv("http_proxy", address)
        assert prepared._network_answers()


@pytest.mark.parametrize("name", ["mnist", "oxford_iiit_pet", "huggingface:mnist", "no_such_set"])
def test_without_download_the_network_is_left_alone(empty_dir, monkeypatch, name):
    monkeypatch.setattr(prepared, "_network_answers", lambda: pytest.fail("the network was probed"))
    for call in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, call, lambda *args, **kwargs: pytest.fail("the network was asked"))
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("the network was asked"))
    with pytest.raises(ValueError, match="'digits'"):
        la.load_data(name, download=False)


def test_a_download_that_works(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(prepared, "_network_answers", lambda: True)
    assert len(la.load_data("toy_full", "test")) == 5
    monkeypatch.setattr(prepared, "_network_answers", lambda: pytest.fail("the data is there"))
    assert len(la.load_data("toy_full", "test")) == 5


def test_a_download_that_fails(tmp_path, monkeypatch):
    def fail(self, dl_manager):
        raise ConnectionError("the host went away\nand here comes a page of text")

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(prepared, "_network_answers", lambda: True)
    monkeypatch.setattr(ToyFull, "_split_generators", fail)
    with pytest.raises(
        ValueError, match=r"'toy_full' .*\(ConnectionError: .*the host went away\).*TFDS_DATA_DIR"
    ) as error:
        la.load_data("toy_full")
    assert isinstance(error.value.__cause__, ConnectionError) and "\n" not in str(error.value)


# Masks and their cache


def test_masks_by_name_and_option():
    images, _, masks = la.to_arrays(la.load_data("digits", "test[:20]", mask_options={"value": 0.5}))
    np.testing.assert_array_equal(masks, images <= np.float32(0.5))
    for source in ("otsu", "center", "full", "threshold"):
        mine = la.to_arrays(la.load_data("digits", "test[:20]", mask=source))[2]
        np.testing.assert_array_equal(mine, la.masks.background_mask(source, images))
    control = la.to_arrays(la.load_data("digits", "test[:20]", mask="random", seed=4))[2]
    areas = la.masks.threshold(images)
    np.testing.assert_array_equal(control, la.masks.random(areas, seed=4))
    exact = la.to_arrays(la.load_data("composite", "test[:20]"))
    assert same(exact, la.to_arrays(la.load_data("composite", "test[:20]", mask="ground_truth")))


def test_random_masks_go_on_from_slice_to_slice(monkeypatch):
    x, y, *_ = sources.read_images("digits", "test[:3]")
    x, y = np.repeat(x[:, 8:20, 8:20], 1500, axis=0), np.repeat(y, 1500)  # 4,500: more than one slice
    mine = background_masks("digits", "random", x, y, None, "threshold", 1, {})
    areas = la.masks.threshold(x / np.float32(255))
    np.testing.assert_array_equal(mine, la.masks.random(areas, seed=1))


def test_within_goes_from_slice_to_slice():
    x, y, *_ = sources.read_images("digits", "test[:3]")
    x, y = np.repeat(x[:, 8:20, 8:20], 1500, axis=0), np.repeat(y, 1500)  # 4,500: more than one slice
    areas = la.masks.threshold(x / np.float32(255))
    within = np.roll(areas, 2, axis=2)  # of the same area, elsewhere
    mine = background_masks("digits", "random", x, y, None, "threshold", 1, {"within": within.tolist()})
    np.testing.assert_array_equal(mine, la.masks.random(areas, seed=1, within=within))


def test_slow_masks_are_computed_once(own_cache, mask_calls):
    first = la.to_arrays(la.load_data("composite", "test[:10]", mask="border"))
    assert mask_calls == ["border"] and len(list(own_cache.iterdir())) == 1
    again = la.to_arrays(la.load_data("composite", "test[:10]", mask="border"))
    assert mask_calls == ["border"] and same(first, again)
    la.load_data("composite", "test[:10]", mask="full")
    assert len(list(own_cache.iterdir())) == 1  # a cheap mask is not kept


def test_the_areas_of_random_masks_come_from_the_cache(toy_dir, own_cache, mask_calls):
    border = la.to_arrays(la.load_data("toy_images"))[2]
    control = la.to_arrays(la.load_data("toy_images", mask="random"))[2]
    assert mask_calls.count("border") == mask_calls.count("random") == 1
    np.testing.assert_array_equal(border.sum(axis=(1, 2, 3)), control.sum(axis=(1, 2, 3)))


def test_what_decides_about_a_mask_decides_about_its_key(own_cache, mask_calls):
    x, y, *_ = composite("test[:5]")

    def load(mask="border", first=0, mask_options=None):
        before = len(mask_calls)
        background_masks("set", mask, x[first:][:4], y[first:][:4], None, "border", 0, mask_options or {})
        return len(mask_calls) - before

    def model(seed, filters=4, policy="float32"):
        keras.utils.set_random_seed(seed)
        layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(filters, 3, dtype=policy), keras.layers.Flatten()]
        return keras.Sequential([*layers, keras.layers.Dense(10)])

    assert load() == 1 and load() == 0
    assert load(first=1) == 1  # other images
    assert load(mask_options={"prior": 0.3}) == 1
    assert load(mask_options={"clusters": 2, "prior": 0.3}) == 1
    assert load(mask_options={"prior": 0.3, "clusters": 2}) == 0  # the order of options is none
    assert load(mask="grabcut") == 1 and load(mask="grabcut") == 0
    first = model(seed=0)
    assert load(mask="saliency", mask_options={"model": first}) == 1
    assert load(mask="saliency", mask_options={"model": first}) == 0
    assert load(mask="saliency", mask_options={"model": model(seed=0)}) == 0  # the same, built again
    assert load(mask="saliency", mask_options={"model": model(seed=1)}) == 1  # other weights
    assert load(mask="saliency", mask_options={"model": model(seed=0, filters=5)}) == 1
    assert load(mask="saliency", mask_options={"model": model(seed=0, policy="mixed_float16")}) == 1
    assert load(mask="saliency", mask_options={"model": first, "foreground": 0.2}) == 1
    first.layers[0].activation = keras.activations.relu
    assert load(mask="saliency", mask_options={"model": first}) == 1  # the same weights, another function
    assert all(path.suffix == ".npz" for path in own_cache.iterdir())


def test_a_model_without_a_config_is_not_cached(own_cache, mask_calls):
    class Wrapped(keras.Model):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    wrapped = Wrapped(la.small_cnn(input_shape=(28, 28, 1), num_classes=10))
    for _ in range(2):
        la.load_data("digits", "test[:2]", mask="saliency", mask_options={"model": wrapped})
    assert mask_calls == ["saliency", "saliency"] and not own_cache.exists()


def damaged(path):
    """The ways in which a file can be broken."""
    whole = path.read_bytes()
    with np.load(path) as arrays:
        parts = dict(arrays)
    yield b""
    yield b"not a zip file"
    yield whole[: len(whole) // 2]
    yield whole[:100] + bytes(50) + whole[150:]
    for arrays in (
        {"bits": np.array([{"evil": "pickle"}], dtype=object)},
        {"bits": np.zeros(3, np.uint8)},  # too few
        {"bits": np.zeros(1024, np.uint8)},  # of more images
        {"masks": np.zeros(512, np.uint8)},
        {"bits": np.zeros(512, np.uint8)},  # as an earlier version wrote it, without a checksum
        parts | {"bits": 255 - parts["bits"]},  # the right size, other contents
        {"bits": parts["bits"], "checksum": cache._checksum(path, (4, 32, 16, 2), parts["bits"])},  # another shape
        {"bits": parts["bits"], "checksum": cache._checksum(path.with_name("b"), (4, 32, 32, 1), parts["bits"])},
    ):
        np.savez_compressed(path, **arrays)
        yield path.read_bytes()


def test_a_damaged_file_is_computed_anew(own_cache, mask_calls):
    x, y, *_ = composite("test[:4]")

    def load():
        return background_masks("composite", "border", x, y, None, "border", 0, {})

    first = load()
    (path,) = own_cache.iterdir()
    for i, content in enumerate(damaged(path)):
        path.write_bytes(content)
        np.testing.assert_array_equal(load(), first)
        assert len(mask_calls) == i + 2, f"damage {i} was not noticed"
        np.testing.assert_array_equal(load(), first)
        assert len(mask_calls) == i + 2, f"damage {i} was not mended"
    assert list(own_cache.iterdir()) == [path]  # and nothing was left lying about


def test_parallel_runs_share_the_cache(own_cache):
    expected = la.masks.border(sources.read_images("digits", "test[:6]")[0].repeat(3, axis=-1) / np.float32(255))
    path = own_cache / "one.npz"

    def read_or_write(i):
        if i % 5 == 0:
            path.unlink(missing_ok=True)  # someone tidies up in between
        return cache.cached(path, lambda: expected.astype(np.uint8), expected.shape)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for masks in pool.map(read_or_write, range(200)):
            np.testing.assert_array_equal(masks, expected)
    assert [file.name for file in own_cache.iterdir()] == ["one.npz"]


def test_masks_that_cannot_be_kept_are_still_masks(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOCADV_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="masks are not kept .*LOCADV_CACHE_DIR"):
        assert len(la.load_data("composite", "test[:3]", mask="border")) == 3


def test_where_the_cache_lies(monkeypatch, tmp_path):
    x, y = np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int64)
    monkeypatch.setenv("LOCADV_CACHE_DIR", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    monkeypatch.setenv("HOME", "/three")
    for unset, folder in (
        (None, "/one/masks"),
        ("LOCADV_CACHE_DIR", "/two/locadv_tf/masks"),
        ("XDG_CACHE_HOME", "/three/.cache/locadv_tf/masks"),
    ):
        if unset:
            monkeypatch.delenv(unset)
        assert cache.cache_file("set/config:1.0.0", "border", x, y, {}).parent.as_posix() == folder


# Bad input


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        (
            "minst",
            {},
            "data set 'minst' is unknown; expected an embedded one ('digits', 'composite') or any TFDS name. Did you "
            "mean 'mnist'",
        ),
        (None, {}, "data set None is unknown"),
        ("mnist/foo", {}, "TFDS cannot make data set 'mnist/foo'"),
        ("mnist:9.9.9", {}, "TFDS cannot make data set 'mnist:9.9.9'"),
        ("coco", {}, "'coco' is no image classification set"),
        ("toy_deep", {}, "expected uint8 with 1 or 3 channels"),
        ("toy_hidden", {}, "has hidden labels (-1)"),
        ("toy_test_only", {}, "has only the splits test; expected one called 'train'"),
        ("toy_images", {"image_size": (0, 5)}, "image_size=0"),
        ("toy_images", {"image_size": (5,)}, "image_size=(5,)"),
        ("toy_images", {"image_size": 32}, "image_size=32"),
        (
            "toy_images",
            {"split": "unsupervised"},
            "split='unsupervised' is unknown; expected 'train', 'validation' or 'test'",
        ),
        ("digits", {"split": "train[:10"}, "split='train[:10' is unknown"),
        ("digits", {"split": "train[:10:2]"}, "split='train[:10:2]' is unknown"),
        ("digits", {"split": None}, "split=None is unknown"),
        ("digits", {"split": "test[:401]"}, "reaches beyond the 400 images of 'test'"),
        ("digits", {"split": "test[:101%]"}, "reaches beyond the 400 images of 'test'"),
        ("digits", {"split": "test[5:5]"}, "holds none of the 400 images"),
        ("digits", {"limit": 0}, "limit=0; expected a whole number, at least 1"),
        ("digits", {"limit": 0.5}, "limit=0.5"),
        ("digits", {"seed": -1}, "seed=-1; expected a whole number, at least 0"),
        ("digits", {"mask": "backgruond"}, "mask='backgruond' is unknown; expected one of 'threshold'"),
        ("digits", {"mask": "ground_truth"}, "mask='ground_truth', but 'digits' has no exact masks"),
        ("digits", {"mask": "border"}, "needs colour images"),
        ("digits", {"mask": "saliency"}, "needs the option 'model'"),
        ("digits", {"mask_options": {"threshold": 1}}, "has no option 'threshold'"),
        *(
            (
                "digits",
                {"mask": "random", "mask_options": {option: 1}},
                f"has no option '{option}'; it takes 'smoothness'",
            )
            for option in ("seed", "first", "default", "labels", "exact", "source", "images")
        ),
        ("digits", {"mask_options": {"labels": 1}}, "source='threshold' has no option 'labels'; it takes 'value'"),
        ("digits", {"mask": "full", "mask_options": {3: 1}}, "source='full' has no option 3; it takes none"),
        ("minst", {"mask": "random", "mask_options": {"seed": 1}}, "has no option 'seed'"),  # before any reading
        ("digits", {"mask": "random", "mask_options": {"within": np.ones((3, 28, 28, 1))}}, "within has shape (3,"),
        (
            "digits",
            {"mask": "saliency", "mask_options": {"model": "m.keras"}},
            "model='m.keras'; expected a Keras model",
        ),
        ("digits", {"mask_options": 0.2}, "mask_options=0.2; expected a dict"),
        ("composite", {"mask": "border", "mask_options": {"prior": {1}}}, "expected plain numbers"),
        ("digits", {"correlation": 0.5}, "correlation passed for 'digits'; expected for 'composite' only"),
        ("digits", {"backgrounds": "cifar10", "digits": "mnist"}, "digits, backgrounds passed for 'digits'"),
        ("digits", {"image_size": (32, 32)}, "image_size=(32, 32) passed for 'digits'"),
        ("composite", {"image_size": (64, 64)}, "image_size=(64, 64) passed for 'composite'"),
        ("composite", {"correlation": -0.1}, "correlation=-0.1 is out of range"),
    ],
)
def test_bad_input(name, arguments, message, toy_dir):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        la.load_data(name, **({"download": False} | arguments))
    assert "\n" not in str(error.value)
