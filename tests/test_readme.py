"""Every command and every snippet of the README and of its results, tried or at least parsed; what they name exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from distributed.cli import dask_scheduler, dask_worker

import locadv
from locadv_tf import cli
from locadv_tf.reports import notebooks

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs" / "results.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README + RESULTS, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def commands(first):
    found = [command for command in COMMANDS if command.startswith(first)]
    assert found
    return found


def test_every_command_is_of_a_kind_that_is_tried_below():
    tried = (
        "make ",
        "python ",
        ". .venv",
        "locadv ",
        "conda ",
        "dask ",
        "jupyter lab ",
        "cd notebooks",
        "papermill ",
        "export ",
    )
    assert [command for command in COMMANDS if not command.startswith(tried)] == []


@pytest.mark.parametrize("target", ["report", "test", "test-course", "lab", "lint", "bench"])
def test_make_targets(target):
    ready = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    expected = {
        "report": "locadv report", "test": "pytest", "test-course": "pytest tests/grading", "lab": "jupyter lab",
        "lint": "ruff", "bench": "locadv bench",
    }  # fmt: skip
    assert expected[target] in ready


@pytest.mark.parametrize("command", commands("locadv "))
def test_locadv_commands_parse_and_their_parameters_exist(command):
    arguments = locadv.parser().parse_args(shlex.split(command)[1:])
    if hasattr(arguments, "parameter"):
        notebooks.profile_parameters(arguments.profile)
        notebooks.check_parameters(notebooks.notebook_path("06_report"), cli._parameters(arguments))


def test_papermill_command(tmp_path):
    """As it stands there, but for the notebook's output, which goes elsewhere."""
    (command,) = commands("papermill ")
    words = shlex.split(command)
    words[2] = str(tmp_path / words[2])
    words += ["-p", "output_dir", str(tmp_path)]
    papermill = Path(sys.executable).with_name("papermill")
    subprocess.run([papermill, *words[1:]], cwd=notebooks.NOTEBOOKS, check=True, capture_output=True)
    assert (tmp_path / "metrics.json").exists()


def test_conda_and_jupyter_name_files_that_exist():
    for command in commands("conda env") + commands("jupyter lab"):
        name = next(word for word in shlex.split(command) if "." in word)
        assert (ROOT / name).exists()


def test_extras_exist():
    pyproject = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"'\.\[(\w+)\]'", README):
        assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)


@pytest.mark.parametrize("command", commands("dask "))
def test_dask_commands_parse(command):
    _, kind, *arguments = shlex.split(command)
    {"scheduler": dask_scheduler, "worker": dask_worker}[kind].main.make_context(f"dask {kind}", arguments)


def snippet(with_word):
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if with_word in code]
    return found


def run(code, folder, **options):
    arguments = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_module_snippet(tmp_path):
    told = run(snippet("la.evaluate(") + snippet("la.LocalizedAutoAttack("), tmp_path)  # the second goes on from there
    assert "PGD-20 · background · eps 25.5/255: accuracy" in told
    assert re.search(r"robust accuracy [01]\.\d{3}", told)
    assert (tmp_path / "defended.keras").exists()


def test_several_gpus_snippet(tmp_path):
    told = run(snippet("MirroredStrategy"), tmp_path)
    assert "Epoch 2/2" in told and re.search(r"trained on [1-9]\d* device", told)


# Stands in for the sweep itself, which tests/reports/test_sweep.py runs on a cluster: what a worker says of itself.
SWEEP = """
import os, warnings
warnings.filterwarnings("ignore", "\\nPort 8787")  # of Dask's dashboard: another program may have it
from locadv_tf import collected, sweeps
sweeps.sweep = lambda todo, executor: {len(todo): executor.submit(os.getenv, "SLURM_JOB_ID").result(300)}
collected.collect = print
"""


def test_slurm_snippet(tmp_path):
    """Without SLURM: `sbatch` runs the job's script here, so that the snippet's cluster has real workers. It takes a
    copy of the script, as SLURM does: dask-jobqueue deletes its own as soon as `sbatch` is back."""
    for name, script in {
        "sbatch": 'cp "$1" job.sh; SLURM_JOB_ID=77 setsid sh job.sh >job.log 2>&1 & echo "Submitted batch job $!"',
        "scancel": 'kill "$1"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    told = run(SWEEP + snippet("SLURMCluster").replace("jobs=4", "jobs=1"), tmp_path, env=environment)
    assert "#SBATCH --gres=gpu:1" in told and "#SBATCH --cpus-per-task=4" in told and "--nthreads 1" in told
    assert "{9: '77'}" in told and "sweeps/slurm" in told


def test_links_and_named_files_exist():
    headings = re.findall(r"^#+ (.+)", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for text, folder in ((README, ROOT), (RESULTS, ROOT / "docs")):
        for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
            assert target in anchors or (folder / target).exists(), target
    for name in re.findall(r"^\| `(\d\d_\w+)`", README, re.MULTILINE):
        assert (notebooks.NOTEBOOKS / f"{name}.ipynb").exists()


def test_every_module_has_its_place_in_the_readme():
    named = set(re.findall(r"`(\w+\.py)`", README))
    there = {path.name for path in (ROOT / "locadv_tf").rglob("*.py")} - {"__init__.py"}
    assert there == named & there
