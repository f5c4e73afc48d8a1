"""The line that says what a run computes on, and the memory it asks for."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.engine import devices
from locadv_tf.reports import notebooks
from locadv_tf.verdicts import checklist

GPU = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")


class FakeGPU:
    """Stands in for TensorFlow's view of the machine and notes what is asked of it."""

    def __init__(self, patch, *, running=False):
        self.running, self.grown = running, []
        patch.setattr(tf.config, "list_physical_devices", lambda kind=None: [GPU] if kind == "GPU" else [])
        patch.setattr(tf.config.experimental, "set_memory_growth", self.grow)
        patch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "Model T"})

    def grow(self, gpu, enable):
        if self.running:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        self.grown.append((gpu, enable))


def test_a_gpu_is_named_and_its_memory_grows(monkeypatch):
    fake = FakeGPU(monkeypatch)
    assert la.grow_gpu_memory() == ["Model T"]
    assert fake.grown == [(GPU, True)]
    assert la.describe_device() == "GPU: Model T"


def test_it_is_no_error_to_be_too_late(monkeypatch):
    fake = FakeGPU(monkeypatch, running=True)
    assert la.grow_gpu_memory() == ["Model T"] and not fake.grown


def test_a_machine_without_a_gpu(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert la.grow_gpu_memory() == []
    line = la.describe_device()
    assert line.startswith("CPU: ") and line.endswith("no GPU") and int(line.split()[1]) >= 1 and "\n" not in line


def test_exact_repetition_is_on_from_then_on():
    """In a process of its own: it cannot be switched off."""
    told = "from tensorflow.python.framework import config\nimport locadv_tf as la\n"
    told += "print(config.is_op_determinism_enabled())\nla.repeat_exactly()\nprint(config.is_op_determinism_enabled())"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.split() == ["False", "True"]


def test_reports_repeat_exactly():
    cells = json.loads((notebooks.NOTEBOOKS / "06_report.ipynb").read_text())["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert text.index("la.repeat_exactly()") < text.index("la.experiment(")


@pytest.mark.parametrize("before", [True, False])
def test_full_float32_holds_within_and_after_an_error_it_is_as_before(before):
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    tf.config.experimental.enable_tensor_float_32_execution(before)
    try:
        with pytest.raises(KeyError), la.full_float32():
            assert not enabled()
            raise KeyError
        assert enabled() == before
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def test_checks_compare_in_full_float32(tiny_model, monkeypatch):
    seen = []

    def attack(model, image, label, *, mask, seed):
        seen.append(tf.config.experimental.tensor_float_32_execution_enabled())
        return image

    monkeypatch.setattr(checklist, "CHECKS", {"weights untouched": checklist.CHECKS["weights untouched"]})
    data = (np.full((2, 8, 8, 1), 0.5, np.float32), np.array([0, 1]), np.ones((2, 8, 8, 1), np.float32))
    la.verdicts.check(tiny_model(), data, attack, eps=0.1)
    assert seen == [False] and tf.config.experimental.tensor_float_32_execution_enabled()


def test_answers_under_tf32_may_differ_by_its_rounding(monkeypatch):
    expected = np.array([[1.0, -2.0]], np.float32)
    assert devices.agree(expected + 0.001, expected) and not devices.agree(expected + 0.01, expected)
    monkeypatch.setattr(devices, "on_gpu", lambda: True)
    assert devices.agree(expected + 0.01, expected) and not devices.agree(expected + 0.1, expected)
    with la.full_float32():
        assert not devices.agree(expected + 0.01, expected)


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
def test_a_real_gpu():
    assert la.describe_device().startswith("GPU: ") and len(la.grow_gpu_memory()) >= 1
