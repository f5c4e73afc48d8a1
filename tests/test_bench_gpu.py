"""`make bench-gpu` without a GPU: it refuses with a sentence, and its parts can be tried."""

import pytest
import tensorflow as tf

import locadv
import locadv_tf as la

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import gpu  # noqa: E402

on_a_cpu = pytest.mark.skipif(la.describe_device().startswith("GPU"), reason="there is a GPU")


@on_a_cpu
def test_no_gpu_is_refused_with_a_sentence(tmp_path, capsys):
    assert gpu.main(["--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("no GPU: ") and len(told.splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.slow
@on_a_cpu
def test_a_try_without_a_gpu_says_so_first(tmp_path, capsys):
    assert gpu.main(["--anyway", "--parts", "machine", "--out", str(tmp_path)]) == 0
    told = (tmp_path / "RESULTS_GPU.md").read_text(encoding="utf-8")
    assert told.startswith("no GPU: ") and told.strip() in capsys.readouterr().out
    assert "## Machine: " in told and f"TensorFlow {tf.__version__}, made for CUDA " in told


@pytest.mark.parametrize(
    ("body", "told"),
    [("echo a line; echo why >&2; exit 3", "a line\n\nFailed:\n\n```\nwhy\n"), ("exec sleep 9", "Stopped after 0 s")],
    ids=["fails", "takes too long"],
)
def test_a_part_that_goes_wrong_is_told(body, told, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(python))
    with open(tmp_path / "out.md", "w+", encoding="utf-8") as file:
        gpu.write([gpu.machine], gpu.TINY, 0.4, file)
        file.seek(0)
        text = file.read()
    assert text.startswith("\n## Machine: the card") and told in text
