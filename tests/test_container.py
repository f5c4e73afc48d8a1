"""The files for containers and a lab server, as far as they can be looked at without a builder and a server."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNIT = (ROOT / "packaging" / "locadv-lab@.service").read_text()


def ignored():
    """The lines of .dockerignore: what is left out, and, after a "!", what is not."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_an_image_for_students_holds_no_solutions_and_nothing_that_nobody_named():
    lines = ignored()
    assert lines[0] == "**" and "notebooks/assignments" in lines[lines.index("!notebooks") :]


def test_what_the_image_copies_is_there_and_not_ignored():
    copied = [word for line in re.findall(r"^COPY --\S+ (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    assert sorted(copied) == sorted(line[1:] for line in ignored() if line.startswith("!"))
    assert all((ROOT / name).exists() for name in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    assert set(packages) <= set(copied)  # setuptools refuses to build where one of them is missing


def test_the_image_has_the_python_of_the_constraints_and_runs_as_a_user():
    (python,) = re.findall(r"^FROM python:([\d.]+)-slim$", DOCKERFILE, re.MULTILINE)
    assert f"Python {python}" in (ROOT / "constraints.txt").read_text().splitlines()[0]
    steps = re.findall(r"^[A-Z]+", DOCKERFILE, re.MULTILINE)
    assert steps.index("USER") < steps.index("COPY") and "token=" not in DOCKERFILE.lower()


def test_the_devcontainer_is_json_and_calls_a_target_of_make():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    target = settings["postCreateCommand"].removeprefix("make ")
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)
    assert settings["image"] == f"python:{re.search(r'FROM python:([0-9.]+)', DOCKERFILE)[1]}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    """With programs that are on this machine in place of those in /opt."""
    programs = Path(sys.executable).parent
    unit = tmp_path / "locadv-lab@.service"
    unit.write_text(UNIT.replace("/opt/locadv_tf/.venv/bin", str(programs)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "locadv-lab@8801.service")],
        capture_output=True,
        text=True,
    )
    told = [line for line in done.stderr.splitlines() if "locadv-lab" in line]
    assert not told and "ExecStart=" in UNIT
    unit.write_text(UNIT.replace("MemoryMax=4G", "MemoryMax=4X"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "locadv-lab@8801.service")],
        capture_output=True,
        text=True,
    )
    assert "Invalid memory limit" in done.stderr  # so it does look
