"""What all tests share: data, trained and tiny models, and a session that repeats itself and leaves no traces.

`pytest -n 2` runs them in two workers, each with its own fixtures; what takes long to make is made by one of them.
"""

import functools
import os
import pathlib
import re
import shlex
import subprocess
import sys

# Read when TensorFlow is imported: before the imports below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # workers fill the cores: more threads would only wait
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import hypothesis_profiles  # noqa: F401 (loads one)
import keras
import numpy as np
import pytest
from once import once

import locadv_tf as la
from locadv_tf.reports import notebooks


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory):
    """A mask cache of this session's own: no test sees yesterday's masks or fills the user's folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCADV_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tfds_dir():
    """The folder with MNIST and CIFAR-10 in TFDS's format; tests that need it are skipped where there is none."""
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "tensorflow_datasets"
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR") or beside)
    missing = [name for name in ("mnist", "cifar10") if not (folder / name).is_dir()]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not prepared in {folder}: set TFDS_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def digits_train():
    """1,197 embedded digits: an unbatched data set."""
    return la.load_data("digits", "train")


@pytest.fixture(scope="session")
def digits_validation():
    """200 embedded digits: an unbatched data set."""
    return la.load_data("digits", "validation")


@pytest.fixture(scope="session")
def digits_test():
    """400 embedded digits: an unbatched data set."""
    return la.load_data("digits", "test")


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory):
    """A folder that all workers of this session share."""
    folder = tmp_path_factory.getbasetemp()  # a worker's is in the session's
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def natural_model(digits_train, shared_dir):
    """A `small_cnn` trained on natural digits. Do not train it further: all tests share it."""
    return _trained(digits_train, share=0.0, path=shared_dir / "natural")


@pytest.fixture(scope="session")
def lat_model(digits_train, shared_dir):
    """The same `small_cnn` after localized adversarial training. Do not train it further: all tests share it."""
    return _trained(digits_train, share=0.5, path=shared_dir / "lat")


def _trained(train, share, path):
    """The model, trained by whichever worker comes first: its weights are at `path` then, bit for bit."""

    def untrained():
        keras.utils.set_random_seed(0)
        return la.small_cnn(input_shape=(28, 28, 1), num_classes=10)

    def train_and_save(folder):
        model, attack = untrained(), la.PGD(eps=0.1, steps=3, keep="last")
        la.train_classifier(model, train, attack=attack, share=share, epochs=8, batch_size=64)
        weights = model.get_weights()
        np.savez(folder / "weights.npz", *weights)
        for weight, saved in zip(weights, load(folder), strict=True):
            np.testing.assert_array_equal(weight, saved)

    def load(folder):
        with np.load(folder / "weights.npz") as saved:
            return [saved[name] for name in saved.files]

    model = untrained()
    model.set_weights(load(once(path, train_and_save)))
    return model


@pytest.fixture(scope="session")
def papermill_command():
    """The command with which docs/students.md runs a lesson on the smoke profile, as words."""
    page = pathlib.Path(__file__).resolve().parents[1] / "docs" / "students.md"
    (command,) = re.findall(r"^papermill .*", page.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(command)


@pytest.fixture(scope="session")
def papermill_run(papermill_command, shared_dir):
    """The folder with what that command leaves: run once, as it stands there, but for the folder."""

    def run(folder):
        papermill = pathlib.Path(sys.executable).with_name("papermill")
        words = [*papermill_command[1:2], folder / papermill_command[2], *papermill_command[3:]]
        words += ["-p", "output_dir", str(folder)]
        subprocess.run([papermill, *words], cwd=notebooks.NOTEBOOKS, check=True, capture_output=True)

    return once(shared_dir / "papermill", run)


@pytest.fixture(scope="session")
def tiny_model():
    """`tiny_model(channels=1, policy="float32")`: three classes, images of any size; batch norm and dropout tell tales.

    A batch in training mode has moved its batch-norm statistics away from where they start.
    """

    @functools.cache
    def build(channels=1, policy="float32"):
        layers, init = keras.layers, keras.initializers.HeNormal
        model = keras.Sequential(
            [
                keras.Input((None, None, channels)),
                layers.Conv2D(8, 3, padding="same", activation="relu", dtype=policy, kernel_initializer=init(3)),
                layers.BatchNormalization(momentum=0.1, dtype=policy),
                layers.Dropout(0.5, seed=0, dtype=policy),
                layers.GlobalAveragePooling2D(dtype=policy),
                layers.Dense(3, dtype=policy, kernel_initializer=init(4)),
            ]
        )
        model(np.random.default_rng(0).random((64, 8, 8, channels), "float32"), training=True)
        return model

    return build


@pytest.fixture(scope="session")
def spy_on():
    """`spy_on(model)`: the same model, which keeps what it is asked."""
    return Spy


class Spy:
    """A model that keeps what it was asked and what it answered, where it runs eagerly."""

    def __init__(self, model):
        self.model, self.layers, self.seen = model, model.layers, []

    def __call__(self, x, training=None):
        logits = self.model(x, training=training)
        self.seen.append((np.asarray(x), logits.numpy().astype(np.float32), training))
        return logits

    @property
    def points(self):
        """All but the first call, with which the attack checks its input."""
        return self.seen[1:]
