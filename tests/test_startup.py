"""The line that says what a run computes on, and the memory it asks for."""

import pytest
import tensorflow as tf

import locadv_tf as la

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


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
def test_a_real_gpu():
    assert la.describe_device().startswith("GPU: ") and len(la.grow_gpu_memory()) >= 1
