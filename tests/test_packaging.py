"""The files around the module agree with each other, and hold nothing that must not be committed."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
ENVIRONMENT = (ROOT / "environment.yml").read_text()


def name_of(requirement):
    return re.split(r"[<>=\[! ]", requirement.strip(), maxsplit=1)[0].lower()


def committed(folder):
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone: here git knows of no file")
    return subprocess.run(
        ["git", "ls-files"], cwd=ROOT / folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_environment_and_pyproject_are_in_step():
    conda = yaml.safe_load(ENVIRONMENT)["dependencies"]
    (through_pip,) = [part["pip"] for part in conda if isinstance(part, dict)]
    assert through_pip[-1] == "--editable ."
    assert sorted(through_pip[:-1]) == sorted(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    (python,) = [part for part in conda if isinstance(part, str) and part.startswith("python ")]
    assert python.removeprefix("python ") == PROJECT["requires-python"]


def test_every_dependency_has_a_lower_bound_and_a_reason():
    lines = [line for line in ENVIRONMENT.splitlines() if line.startswith("      - ") and "--editable" not in line]
    for line in lines:
        assert ">=" in line and re.search(r" # .{5,}", line), line


def test_constraints_cover_every_dependency_and_satisfy_its_bound():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        pinned = pins[name_of(requirement).replace("_", "-")]
        bound = requirement.split(">=")[1]
        assert [int(part) for part in pinned.split(".")[:2]] >= [int(part) for part in bound.split(".")[:2]]


def what_comes_with(requirements):
    """All distributions that an installation of these brings along, by name."""
    waiting, known = [Requirement(text) for text in requirements], set()
    while waiting:
        wanted = waiting.pop()
        if (key := (canonicalize_name(wanted.name), frozenset(wanted.extras))) in known:
            continue
        known.add(key)
        for other in map(Requirement, importlib.metadata.requires(wanted.name) or []):
            asked = {"", *wanted.extras}
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in asked):
                waiting.append(other)
    return {name for name, _ in known}


def test_a_bare_installation_has_what_the_kit_imports():
    """`make` installs the tools of developers, too, so that a missing dependency would not be noticed there."""
    there, providers = what_comes_with(PROJECT["dependencies"]), importlib.metadata.packages_distributions()
    missing = {}
    for path in [ROOT / "locadv.py", *(ROOT / "locadv_tf").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names:
                if not name.startswith("locadv") and not set(map(canonicalize_name, providers.get(name, [""]))) & there:
                    missing.setdefault(name, set()).add(path.relative_to(ROOT).parts[1:-1])
    # An extra where it is asked for, and `locadv bench`, which belongs to a clone.
    assert missing == {"nbgrader": {("course",)}, "distributed": {()}, "bench": {()}}


def test_versions_agree():
    import locadv_tf

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert locadv_tf.__version__ == PROJECT["version"] == cited


def test_no_registry_host_and_no_path_of_a_machine_is_committed():
    # Written in halves, so that this file does not find itself.
    host = re.compile(
        "|".join("".join(halves) for halves in (("py", "pi.org"), ("python", "hosted"), ("index-", "url")))
    )
    path = re.compile(r"(?<![\w.])/(?:ho" + "me|ro" + "ot|Us" + "ers|wo" + r"rk)/\w")
    for name in committed("."):
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace") if (ROOT / name).exists() else ""
        assert not host.search(text), name
        assert not path.search(text), name


def test_ci_calls_what_tests():
    lines = re.findall(r"^make .*", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    called = [word for line in lines for word in line.split()[1:] if not word.startswith("-")]
    assert sorted(called) == sorted(re.findall(r"^(test[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_a_wheel_has_every_package_and_every_file_of_the_lessons():
    """Read off pyproject.toml; `make test-wheel` builds one."""
    there = {path.parent.relative_to(ROOT) for path in (ROOT / "locadv_tf").rglob("__init__.py")}
    listed = [*(".".join(path.parts) for path in there), "locadv_tf.notebooks", "locadv_tf.results.models"]
    assert sorted(SETUPTOOLS["packages"]) == sorted(listed)
    assert [(ROOT / f"{name}.py").is_file() for name in SETUPTOOLS["py-modules"]] == [True]
    lessons = ROOT / SETUPTOOLS["package-dir"]["locadv_tf.notebooks"]
    packed = {path for pattern in SETUPTOOLS["package-data"]["locadv_tf.notebooks"] for path in lessons.glob(pattern)}
    assert {lessons / name for name in committed("notebooks")} <= packed


def test_a_wheel_has_every_classifier_with_its_card():
    name = "locadv_tf.results.models"
    folder = ROOT / SETUPTOOLS["package-dir"][name]
    packed = {path for pattern in SETUPTOOLS["package-data"][name] for path in folder.glob(pattern)}
    assert {path.suffix for path in packed} == {".keras", ".md"}
    assert {folder / name for name in committed("results/models")} <= packed


def test_a_wheel_has_every_file_of_the_playground():
    folder = ROOT / "locadv_tf" / "playground"
    packed = {path for pattern in SETUPTOOLS["package-data"]["locadv_tf.playground"] for path in folder.glob(pattern)}
    there = {path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    assert there and there == packed
