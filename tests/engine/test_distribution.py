"""Several devices: MirroredStrategy trains the same LocalizedAdversarialTraining and ends at the same weights."""

import json
import subprocess
import sys

import pytest
from hypothesis_profiles import examples
from once import once

pytestmark = pytest.mark.slow

N = examples(150, quick=60)  # images to attack, 16 at a time
BATCHES = examples(4, quick=2)  # to train on

# Logical devices must be made before TensorFlow starts: a process of its own, for both tests.
START = """
import json
import locadv_tf as la
import keras
import numpy as np
import tensorflow as tf
from locadv_tf.engine import stream

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""

TRAIN = """
data = la.load_data("digits", f"train[:{64 * BATCHES}]").batch(64)
# Two devices add up in another order than one. A sign would make a step of the last bit of a gradient near zero.
attack = la.PGD(eps=1.0, steps=3, random_start=False, keep="last", norm="l2")


def train(strategy, data=data, share=1.0):
    with strategy.scope():
        model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        defended = la.LocalizedAdversarialTraining(model, attack=attack, share=share)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        defended.compile(keras.optimizers.SGD(0.1), loss=loss)
    history = defended.fit(data, validation_data=data, shuffle=False, epochs=2, verbose=0)
    return model.get_weights(), history.history, int(np.asarray(defended.step_count))


strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one, two = map(train, strategies)
apart = max(float(np.abs(a - b).max()) for a, b in zip(one[0], two[0]))
print(json.dumps({"apart": apart, "histories": [one[1], two[1]], "steps": [one[2], two[2]]}))

# Each device attacks the first half of its own 32 images. One device alone attacks the same, if they come first.
first = np.r_[0:16, 32:48, 16:32, 48:64]
halves = data.map(lambda *batch: tf.nest.map_structure(lambda part: tf.gather(part, first), batch))
one, two = train(strategies[0], halves, 0.5), train(strategies[1], data, 0.5)
apart = max(float(np.abs(a - b).max()) for a, b in zip(one[0], two[0]))
print(json.dumps({"apart": apart, "histories": [one[1], two[1]], "steps": [one[2], two[2]]}))
"""

# A model with mirrored weights, attacked on one device and on two.
ATTACK = """
data = la.load_data("digits", f"test[:{N}]")
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
attack, used, run = la.PGD(eps=0.1, steps=4, restarts=2), set(), stream._run


def watched(model, *rest):
    for finished in run(model, *rest):
        used.add(model(finished["image"], training=False).device[-5:])
        yield finished


stream._run, told = watched, {"runs": [], "used": []}
for names in ([None], ["CPU:0", "CPU:1"], ["CPU:0", "CPU:1"]):
    stream.devices = lambda: names
    used.clear()
    result = la.run_attack(model, data, attack, stop="worst", batch_size=16)
    rows = la.evaluate(model, data, {"PGD": attack}, regions=["full"], batch_size=16)
    told["used"].append(sorted(used))
    told["runs"].append(
        {
            "index": result.index.tolist(),
            "fooled": result.fooled.tolist(),
            "loss": result.loss.tolist(),
            "images": np.float64(result.images).sum(axis=(1, 2, 3)).tolist(),
            "evaluations": result.gradient_evaluations,
            "accuracy": [row["accuracy"] for row in rows],
        }
    )
image, label, mask = la.to_arrays(data)
image[N - 10] = 7
broken = tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label))
try:
    la.run_attack(model, broken, attack, batch_size=16)
except ValueError as error:
    told["error"] = [str(error), len(error.partial)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(shared_dir):
    """What the scripts print."""

    def run(folder):
        script = f"{START}\nN, BATCHES = {N}, {BATCHES}\n{ATTACK}{TRAIN}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        (folder / "told").write_text(done.stdout)

    text = (once(shared_dir / "distribution", run) / "told").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"')]
    return dict(zip(("attack", "train", "half"), lines, strict=True))


def test_two_devices_attack_like_one(told):
    told = told["attack"]
    assert told["used"] == [["CPU:0"], ["CPU:0", "CPU:1"], ["CPU:0", "CPU:1"]]
    one, two, again = told["runs"]
    assert two == again  # repeated bit for bit
    for name in ("index", "fooled", "evaluations", "accuracy"):
        assert one[name] == two[name], name
    assert one["evaluations"] == N * 4 * 2
    for name in ("loss", "images"):
        assert all(abs(a - b) < 1e-2 for a, b in zip(one[name], two[name], strict=True)), name
    message, finished = told["error"]
    assert "image has values from 0 to 7" in message and finished <= N - 10


@pytest.mark.parametrize("part", ["train", "half"])
def test_two_devices_train_like_one(part, told):
    told = told[part]
    assert told["apart"] < 2e-5
    assert told["steps"] == [2 * BATCHES] * 2
    one, two = told["histories"]
    assert one.keys() == two.keys() and "val_adversarial_accuracy" in one
    for name, values in one.items():
        assert all(abs(a - b) < 1e-4 for a, b in zip(values, two[name], strict=True)), name
