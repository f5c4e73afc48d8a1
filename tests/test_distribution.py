"""Several devices: MirroredStrategy trains the same LocalizedAdversarialTraining and ends at the same weights."""

import json
import subprocess
import sys

# Logical devices must be made before TensorFlow starts: a process of its own.
SCRIPT = """
import json
import locadv_tf as la
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
data = la.load_data("digits", "train[:256]").batch(64)
attack = la.PGD(eps=0.1, steps=3, random_start=False, keep="last")


def train(strategy):
    with strategy.scope():
        model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        # share=1: whole batches, since each device would pick the first share of its own part of a batch.
        defended = la.LocalizedAdversarialTraining(model, attack=attack, share=1.0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        defended.compile(keras.optimizers.SGD(0.1), loss=loss)
    history = defended.fit(data, validation_data=data, shuffle=False, epochs=2, verbose=0)
    return model.get_weights(), history.history, int(np.asarray(defended.step_count))


strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one, two = map(train, strategies)
apart = max(float(np.abs(a - b).max()) for a, b in zip(one[0], two[0]))
print(json.dumps({"apart": apart, "histories": [one[1], two[1]], "steps": [one[2], two[2]]}))
"""


def test_two_devices_train_like_one():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["apart"] < 2e-5
    assert told["steps"] == [8, 8]
    one, two = told["histories"]
    assert one.keys() == two.keys() and "val_adversarial_accuracy" in one
    for name, values in one.items():
        assert all(abs(a - b) < 1e-4 for a, b in zip(values, two[name], strict=True)), name
