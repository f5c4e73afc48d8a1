"""What goes wrong outside the kit: broken files, broken models, processes that die. One sentence says what to do."""

import itertools
import os
import signal
import subprocess
import sys
import time
import warnings

import keras
import nbclient.exceptions
import numpy as np
import psutil
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import locadv
import locadv_tf as la
from locadv_tf import cli, models, validation
from locadv_tf.data import batches
from locadv_tf.reports import report


class ToyBroken(tfds.core.GeneratorBasedBuilder):
    """Thirty images in two files; image i is i everywhere."""

    VERSION = tfds.core.Version("1.0.0")
    CLASSES = 3

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(6, 6, 1)),
            "label": tfds.features.ClassLabel(num_classes=self.CLASSES),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(30):
            yield i, {"image": np.full((6, 6, 1), i, np.uint8), "label": i % 3}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The folder of a toy set, prepared, to be damaged."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    builder = ToyBroken(data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
    return builder.data_path


def last_file(folder):
    return sorted(folder.glob("*.tfrecord*"))[-1]


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 255  # in the last record: TensorFlow checks no record that it skips
    path.write_bytes(content)


def cut_at_a_record(path):
    """A whole record fewer: no checksum notices."""
    content = path.read_bytes()
    path.write_bytes(content[: 16 + int.from_bytes(content[:8], "little")])


FILES = {
    "damaged": (flipped, "is damaged"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "holds 0 images"),
    "gone": (lambda path: path.unlink(), "is gone"),
    "shorter": (cut_at_a_record, "holds 1 images"),
    "another file": (lambda path: path.write_bytes(b"not a record, but a page of text" * 9), "is damaged"),
}


@pytest.mark.parametrize("memory", [None, 0], ids=["in memory", "streamed"])
@pytest.mark.parametrize(("damage", "message"), FILES.values(), ids=FILES)
def test_a_broken_file_of_a_set_is_named(toy, damage, message, memory):
    path = last_file(toy)
    damage(path)
    with pytest.raises(ValueError, match=message) as error:
        la.load_data("toy_broken", "test", memory=memory)  # the end of the last file
    text = str(error.value)
    assert str(path) in text and f"Delete the folder {toy}" in text and "\n" not in text


def test_a_set_that_says_it_has_more_images(toy):
    info = toy / "dataset_info.json"
    info.write_text(info.read_text().replace('"15"', '"20"'))
    with pytest.raises(ValueError, match=r"tfrecord-00000-of-00002 holds 15 images; expected a file of 20 images"):
        la.load_data("toy_broken", "train")


def test_a_description_that_is_no_json(toy):
    (toy / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot make data set 'toy_broken' .*delete the folder") as error:
        la.load_data("toy_broken", "train", download=False)
    assert "\n" not in str(error.value)


def test_labels_beyond_the_classes_of_the_set(toy, monkeypatch):
    monkeypatch.setattr(ToyBroken, "CLASSES", 2)
    with pytest.raises(ValueError, match=r"'toy_broken' in .* has the label 2; expected 0 to 1, .* 2 classes\. Delete"):
        la.load_data("toy_broken", "train", mask="full")
    with pytest.raises(ValueError, match=r"has the label 2; expected 0 to 1"):
        la.load_data("toy_broken", "train", mask="full", memory=0)


@pytest.mark.parametrize("damage", [damage for damage, _ in FILES.values()], ids=FILES)
def test_a_file_that_breaks_after_it_was_loaded_is_told_in_a_line(toy, damage):
    data = la.load_data("toy_broken", "test", memory=0)
    damage(last_file(toy))
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3)])
    for call in (
        lambda: la.run_attack(model, data, PGD),
        lambda: la.train_classifier(model, data, attack=PGD, epochs=1),
    ):
        with pytest.raises(ValueError, match=r"cannot be read any more \(.*Error\)") as error:
            call()
        assert "\n" not in str(error.value) and "load_data again: it names a damaged file" in str(error.value)


# Images and numbers

IMAGE = np.random.default_rng(0).random((4, 6, 5, 1), "float32")
LABEL, MASK = np.array([0, 1, 2, 0]), np.ones((4, 6, 5, 1), "float32")


def classifier(*last, outputs=3):
    layers = keras.layers
    return keras.Sequential([keras.Input((6, 5, 1)), layers.Flatten(), layers.Dense(outputs), *last])


def test_an_image_a_little_beyond_one_is_told_so():
    image = IMAGE.copy()
    image[0, 0, 0, 0] = np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(ValueError, match=r"to 1\.0000001; expected \[0, 1\]\. .*tf\.clip_by_value\(image, 0, 1\)"):
        validation.images(image)
    validation.images(tf.clip_by_value(image, 0, 1))


def test_an_l2_budget_beyond_all_images_is_refused():
    for eps in (1e300, 1e5, float("inf")):
        with pytest.raises(ValueError, match=r"eps=.* is out of range; expected a number from 0 to 10000"):
            la.PGD(eps=eps, norm="l2")
    with pytest.raises(ValueError, match=r"step_size=1e\+300"):
        la.PGD(eps=1, norm="l2", step_size=1e300)
    attacked = la.PGD(eps=1e4, norm="l2", steps=3)(classifier(), IMAGE, LABEL)
    assert np.isfinite(attacked).all()


def test_whole_numbers_that_no_float_holds():
    for call in (lambda: la.PGD(eps=10**400), lambda: la.FGSM(eps=-(10**400)), lambda: la.FGSM(eps=10**400, norm="l2")):
        with pytest.raises(ValueError, match="eps is too large for a float; expected a number from 0 to"):
            call()
    with pytest.raises(ValueError, match=r"steps has 1329 bits; expected a whole number below 2\*\*63"):
        la.PGD(eps=0.1, steps=10**400)


@pytest.mark.parametrize("make", [la.small_cnn, la.colour_cnn])
@pytest.mark.parametrize("seed", ["1", None, 0.5, -1, True])
def test_seeds_of_models(make, seed):
    with pytest.raises(ValueError, match=r"seed=.*; expected a whole number, at least 0"):
        make((8, 8, 3), 3, seed=seed)


# Models


def several(kind):
    image = keras.Input((6, 5, 1))
    flat = keras.layers.Flatten()(image)
    one, other = keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)
    return keras.Model(image, {"class": one, "other": other} if kind == "dict" else [one, other])


def sigmoid_function():
    image = keras.Input((6, 5, 1))
    return keras.Model(image, keras.ops.sigmoid(keras.layers.Dense(3)(keras.layers.Flatten()(image))))


MODELS = {
    "None": (None, "model=None; expected a Keras model"),
    "text": ("a.keras", r"model='a\.keras'; expected a Keras model .*load_model"),
    "class": (keras.Sequential, "expected a Keras model"),
    "dict outputs": (several("dict"), r"a dict of 2 outputs \('class', 'other'\); expected one .*output\['class'\]"),
    "list outputs": (several("list"), r"a list of 2 outputs; expected one .*model\.output\[0\]"),
    "sigmoid": (classifier(keras.layers.Dense(3, activation="sigmoid")), "ends in sigmoid: it returns probabilities"),
    "sigmoid layer": (classifier(keras.layers.Activation("sigmoid")), "ends in sigmoid"),
    "sigmoid function": (sigmoid_function(), "ends in sigmoid"),
}
PGD = la.PGD(eps=0.1, steps=1)
CALLS = {
    "attack": lambda model: PGD(model, IMAGE, LABEL),
    "run_attack": lambda model: la.run_attack(model, (IMAGE, LABEL, MASK), PGD),
    "evaluate": lambda model: la.evaluate(model, (IMAGE, LABEL, MASK), {"PGD": PGD}),
    "check": lambda model: la.verdicts.check(model, (IMAGE, LABEL, MASK), PGD),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("model", "message"), MODELS.values(), ids=MODELS)
def test_what_is_no_model_of_logits(call, model, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_a_model_of_nan_weights_is_called_broken_before_work():
    model = classifier()
    kernel, bias = model.get_weights()
    kernel[0, 0] = np.nan
    model.set_weights([kernel, bias])
    with pytest.raises(ValueError, match=r"the model is broken: its weights \S*kernel hold NaN .* Train it again"):
        la.verdicts.check(model, (IMAGE, LABEL, MASK), PGD)
    with pytest.raises(ValueError, match="the surrogate is broken"):
        la.verdicts.check(classifier(), (IMAGE, LABEL, MASK), PGD, surrogate=model)


# Data


def test_data_of_unknown_length_is_announced_after_a_minute():
    def endless():
        for _ in range(20):
            yield IMAGE[:2], LABEL[:2]

    data = tf.data.Dataset.from_generator(endless, output_types=("float32", "int64"))
    times = itertools.count(0, 20)
    with pytest.warns(UserWarning, match=r"^6 images came in the first 60 s from data of unknown length") as seen:
        assert len(list(batches.announced(data, seconds=60, clock=lambda: next(times)))) == 20
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = tf.data.Dataset.from_tensor_slices((IMAGE, LABEL)).batch(2)
        list(batches.announced(known, seconds=0))


@pytest.mark.parametrize("call", ["run_attack", "evaluate"])
def test_a_generator_is_announced_with_its_count(call, monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE", 0)
    signature = tuple(tf.TensorSpec(part.shape[1:], part.dtype) for part in (IMAGE, LABEL))
    data = tf.data.Dataset.from_generator(lambda: zip(IMAGE, LABEL, strict=True), output_signature=signature)
    with pytest.warns(UserWarning, match=r"^2 images came in the first 0 s from data of unknown length"):
        if call == "run_attack":
            found = la.run_attack(classifier(), data, PGD, region="full", batch_size=2)
            assert len(found) == len(LABEL)
        else:
            rows = la.evaluate(classifier(), data, {"PGD": PGD}, regions=["full"], batch_size=2)
            assert all(row["n"] == len(LABEL) for row in rows)


@pytest.mark.parametrize("data", ["none", "filtered"])
def test_training_on_nothing_is_refused(data):
    whole = tf.data.Dataset.from_tensor_slices(({"image": IMAGE, "mask": MASK}, LABEL))
    empty = whole.take(0) if data == "none" else whole.filter(lambda inputs, label: label > 5)
    with pytest.raises(ValueError, match="train holds no images; expected at least one"):
        la.train_classifier(classifier(), empty, attack=PGD, epochs=1)


def defended(model):
    model = la.LocalizedAdversarialTraining(model, attack=PGD)
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_fit_on_nothing_is_refused():
    for nothing in (IMAGE[:0], {"image": IMAGE[:0], "mask": MASK[:0]}):
        with pytest.raises(ValueError, match="the training data holds no images"):
            defended(classifier()).fit(nothing, LABEL[:0])
    with pytest.raises(ValueError, match="the training data holds no images"):
        defended(classifier()).fit(tf.data.Dataset.from_tensor_slices((IMAGE, LABEL)).take(0).batch(2))


def test_a_frozen_model_is_refused():
    model = classifier()
    model.trainable = False
    whole = tf.data.Dataset.from_tensor_slices(({"image": IMAGE, "mask": MASK}, LABEL))
    for call in (
        lambda: la.train_classifier(model, whole, attack=PGD, epochs=1),
        lambda: defended(model).fit(IMAGE, LABEL),
    ):
        with pytest.raises(ValueError, match=r"no trainable weights.*Set classifier\.trainable = True"):
            call()


# Processes


def test_an_old_page_does_not_outlive_its_notebook(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(report.papermill, "execute_notebook", killed)
    (tmp_path / "report.html").write_text("of an older run")
    with pytest.raises(KeyboardInterrupt):
        report.report(out=tmp_path, profile="smoke")
    assert not (tmp_path / "report.html").exists()


def test_a_dead_kernel_is_one_line(tmp_path, monkeypatch, capsys):
    def died(*_, **__):
        raise nbclient.exceptions.DeadKernelError("Kernel died")

    monkeypatch.setattr(report.papermill, "execute_notebook", died)
    assert locadv.main(["report", "--out", str(tmp_path), "--profile", "smoke"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "want of memory" in err and f"{tmp_path}/report.ipynb" in err


@pytest.mark.parametrize(
    ("problem", "tries"),
    [
        ("Kernel didn't respond in 60 seconds", 2),
        ("Kernel died before replying to kernel_info", 2),
        ("something else", 1),
    ],
)
def test_a_kernel_that_never_answered_is_started_once_more(problem, tries, tmp_path, monkeypatch):
    """Its port was taken by another kernel, which started at the same moment."""
    calls = []

    def never_answers(*_, **__):
        calls.append(1)
        raise RuntimeError(problem)

    monkeypatch.setattr(report.papermill, "execute_notebook", never_answers)
    with pytest.raises(RuntimeError, match=problem):
        report.report(out=tmp_path, profile="smoke")
    assert len(calls) == tries


def test_a_very_large_model_is_announced(tmp_path, monkeypatch, capsys):
    inner = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(2) for _ in range(3))])
    keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    assert models.layer_count(tmp_path / "m.keras") >= 5
    assert models.layer_count(tmp_path / "nowhere.keras") == 0
    monkeypatch.setattr(cli, "MANY_LAYERS", 5)
    assert locadv.main(["check", str(tmp_path / "m.keras"), "--limit", "2"]) == 2  # it takes no images
    assert "layers, which is many. Loading it" in capsys.readouterr().err


def test_sigterm_is_met_like_ctrl_c(monkeypatch, capsys):
    def work(_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(cli.COMMANDS, "report", work)
    assert locadv.main(["report"]) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert "what is finished stays" in capsys.readouterr().err


POOL = """
import os, sys, time
from locadv_tf.reports import workers
if __name__ == "__main__":
    with workers.pool(1) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        executor.submit(time.sleep, 100).result()
"""


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, number):
    (tmp_path / "pool.py").write_text(POOL)
    with subprocess.Popen([sys.executable, tmp_path / "pool.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(number)
        parent.wait(30)
    for _ in range(200):
        if not os.path.exists(f"/proc/{worker}"):
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")


def is_kernel(process):
    try:
        return "ipykernel_launcher" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # ended since it was listed; a zombie counts as ended, too
        return False


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_stopped_leaves_no_process(tmp_path, number):
    """A real one, two workers with a kernel each; Ctrl-C goes to the whole group, as in a terminal."""
    command = [sys.executable, "-m", "locadv", "sweep", "--datasets", "digits", "--seeds", "0", "1", "--workers", "2"]
    command += ["--profile", "smoke", "--out", tmp_path / "sweep"]
    # A shell lets its jobs in the background ignore Ctrl-C, and what these tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with (
        open(tmp_path / "stderr", "w") as stderr,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True) as sweep,
    ):
        offspring, end = [], time.monotonic() + 240
        try:
            while sum(map(is_kernel, offspring)) < 2 or len(list(tmp_path.glob("sweep/.*/report.ipynb"))) < 2:
                assert sweep.poll() is None and time.monotonic() < end, (tmp_path / "stderr").read_text()
                time.sleep(0.2)
                offspring = psutil.Process(sweep.pid).children(recursive=True)
            time.sleep(3)  # in the middle of a cell
            offspring = psutil.Process(sweep.pid).children(recursive=True)
            if number == signal.SIGINT:
                os.killpg(sweep.pid, number)
            else:
                sweep.send_signal(number)
            status = sweep.wait(60)
            _, left = psutil.wait_procs(offspring, timeout=40)
            assert not left
        finally:
            for process in psutil.wait_procs(offspring, timeout=0)[1]:
                process.kill()
            sweep.kill()
    if number == signal.SIGKILL:
        return
    text = (tmp_path / "stderr").read_text()
    assert status == 130 and "Traceback" not in text
    assert text.rstrip().endswith("locadv: stopped; what is finished stays, and the same command continues.")
