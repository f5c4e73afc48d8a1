"""Every command and snippet of README and docs/, tried or at least parsed; what they name exists; plain English."""

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
from locadv_tf.course import publish, release
from locadv_tf.reports import notebooks

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    path: path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
TEXT = "\n".join(PAGES.values())
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()  # a command that goes on in the next line is one
    if line.strip()
]
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


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
        "sudo systemd-run ",
        "docker run ",
        "docker build ",
    )
    assert [command for command in COMMANDS if not command.startswith(tried)] == []


@pytest.mark.parametrize(
    "target", ["report", "test", "test-slow", "test-course", "lab", "lint", "bench", "bench-gpu", "picture", "site"]
)
def test_make_targets(target):
    ready = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    expected = {
        "report": "locadv report", "test": "pytest -m 'not slow'", "test-slow": "pytest -m slow",
        "test-course": "pytest tests/grading", "lab": "jupyter lab",
        "lint": "ruff", "bench": "locadv bench", "bench-gpu": "benchmarks/gpu.py", "picture": "python docs/picture.py",
        "site": "docs/site/make_site.py --profile class",
    }  # fmt: skip
    assert expected[target] in ready


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^(?!\.)([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {command.split()[-1] for command in commands("make ")} | set(re.findall(r"`make ([\w-]+)`", TEXT))
    assert named and named <= targets


@pytest.mark.parametrize("command", commands("locadv "))
def test_locadv_commands_parse_and_their_parameters_exist(command):
    arguments = locadv.parser().parse_args(shlex.split(command)[1:])
    if hasattr(arguments, "parameter"):
        notebooks.profile_parameters(arguments.profile)
        notebooks.check_parameters(notebooks.notebook_path("06_report"), cli._parameters(arguments))


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(locadv \w[^`…]*)`", TEXT))))
def test_locadv_commands_in_the_text_exist(command):
    with pytest.raises(SystemExit) as left:
        locadv.parser().parse_args([*shlex.split(command)[1:], "--help"])
    assert left.value.code == 0


@pytest.mark.parametrize(
    "command", [command for command in commands("sudo ") + commands("docker ") if "locadv course" in command]
)
def test_commands_that_isolate_end_in_one_that_parses(command):
    words = shlex.split(command)
    (at,) = (i for i, word in enumerate(words) if Path(word).name == "locadv")
    assert locadv.parser().parse_args(words[at + 1 :]).folder == "submissions"


def test_python_commands_name_programs_that_exist():
    programs = [command.split()[1] for command in commands("python ")]
    for name in programs:
        assert name in ("-m", "-c") or (ROOT / name).exists(), name
    assert "results/page.py" in programs


@pytest.mark.slow
def test_papermill_command(papermill_command, papermill_run):
    """test_notebooks.py looks at what it leaves, too."""
    assert [papermill_command] == [shlex.split(command) for command in commands("papermill ")]
    assert (papermill_run / "metrics.json").exists()


def test_conda_and_jupyter_name_files_that_exist():
    for command in commands("conda env") + commands("jupyter lab"):
        name = next(word for word in shlex.split(command) if "." in word)
        assert (ROOT / name).exists()


def test_extras_exist():
    pyproject = (ROOT / "pyproject.toml").read_text()
    extras = set(re.findall(r"'\.\[(\w+)\]'", TEXT))
    assert extras >= {"dev", "gpu", "cluster", "coursework"}
    for extra in extras:
        assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)


@pytest.mark.parametrize("command", commands("dask "))
def test_dask_commands_parse(command):
    _, kind, *arguments = shlex.split(command)
    {"scheduler": dask_scheduler, "worker": dask_worker}[kind].main.make_context(f"dask {kind}", arguments)


def snippet(with_word):
    (found,) = [code for code in SNIPPETS if with_word in code]
    return found


def run(code, folder, **options):
    arguments = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_snippet_is_run_below():
    words = (
        "la.evaluate(", "la.LocalizedAutoAttack(", "MirroredStrategy", "SLURMCluster", "la.residual_cnn(",
        "la.pretrained(",
    )  # fmt: skip
    assert sorted(snippet(word) for word in words) == sorted(SNIPPETS)


@pytest.mark.slow
def test_module_snippet(tmp_path):
    told = run(snippet("la.evaluate(") + snippet("la.LocalizedAutoAttack("), tmp_path)  # the second goes on from there
    assert "PGD-20 · background · eps 25.5/255: accuracy" in told
    assert re.search(r"robust accuracy [01]\.\d{3}", told)
    assert (tmp_path / "defended.keras").exists()


@pytest.mark.slow
def test_training_snippets(tmp_path):
    told = "\nassert len(history['val_adversarial_accuracy']) == 2"
    run(snippet("la.residual_cnn(") + told + "\n" + snippet("la.pretrained("), tmp_path)


@pytest.mark.slow
def test_several_gpus_snippet(tmp_path):
    told = run(snippet("MirroredStrategy"), tmp_path)
    assert "Epoch 2/2" in told and re.search(r"trained on [1-9]\d* device", told)


# Stands in for the sweep itself, which tests/reports/test_sweep.py runs on a cluster: what a worker says of itself.
SWEEP = """
import os, warnings
warnings.filterwarnings("ignore", "\\nPort 8787")  # of Dask's dashboard: another program may have it
from locadv_tf.reports import collect, sweep
sweep.sweep = lambda todo, executor: {len(todo): executor.submit(os.getenv, "SLURM_JOB_ID").result(300)}
collect.collect = print
"""


@pytest.mark.slow
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


def anchors(text):
    """What a link can point at in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_and_named_files_exist(path):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[path]):
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        assert not anchor or anchor in anchors(page.read_text()), target
    folders = "benchmarks|docs|examples|locadv_tf|notebooks|tests"
    for name in re.findall(rf"`((?:{folders})/[\w/.-]*)`", PAGES[path]):
        kept_back = not release.assignments() and f"{name}/".startswith(publish.SECRET)  # in a public copy
        assert (ROOT / name).exists() or kept_back, name
    for name in re.findall(r"^\| `(\d\d_\w+)`", PAGES[path], re.MULTILINE):
        assert (notebooks.NOTEBOOKS / f"{name}.ipynb").exists()


def test_every_page_can_be_reached_from_the_readme():
    """In one step or two."""
    reached, new = set(), {ROOT / "README.md"}
    for _ in range(3):
        reached |= new
        links = {path.parent / link for path in new for link in re.findall(r"\]\(([\w./]+\.md)", PAGES[path])}
        new = {path.resolve() for path in links} & set(PAGES)
    assert reached == set(PAGES)


def test_the_readme_and_the_instructors_page_are_short():
    assert len(README.splitlines()) <= 150
    assert len(PAGES[ROOT / "docs" / "instructors.md"].splitlines()) <= 110


def test_the_readme_says_how_much_of_bench_gpu_has_run():
    """As long as its results were put together by hand: `make bench-gpu` writes a file without this sentence."""
    partly = "`make bench-gpu` itself has not run" in (ROOT / "benchmarks" / "RESULTS_GPU.md").read_text()
    assert partly == ("of `make bench-gpu` only parts have run on a GPU" in README)


def test_the_three_lines_are_where_contributing_says():
    page = PAGES[ROOT / "CONTRIBUTING.md"]
    rows = re.findall(r"^\|[^|]+\| `(locadv_tf/[\w/]+\.py)`[^|]*\| `(.+)` \|$", page, re.MULTILINE)
    assert len(rows) == 3
    for path, line in rows:
        assert [text.strip() for text in (ROOT / path).read_text().splitlines()].count(line) == 1, path


def test_every_session_of_the_course_plans_fits_90_minutes():
    page = PAGES[ROOT / "docs" / "instructors.md"]
    sessions = [row.split("|")[2:-1] for row in re.findall(r"^\| \d \|.*", page, re.MULTILINE)]
    minutes = [sum(map(int, re.findall(r"\((\d+)\)", text))) for row in sessions for text in row if text.strip()]
    assert len(minutes) == 2 + 4 + 6 and min(minutes) >= 60 and max(minutes) <= 90


def test_the_readme_shows_one_picture_and_says_what_is_in_it():
    shown = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)  # those of results/ have their test in test_results.py
    ((alt, target),) = [picture for picture in shown if not picture[1].startswith("results/figures/")]
    assert len(alt.split()) >= 20
    picture = (ROOT / target).read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
    assert "`make picture`" in README and f"images/{Path(target).name}" in (ROOT / "docs/picture.py").read_text()


def test_what_was_measured_is_on_the_first_screen():
    first = "\n".join(README.splitlines()[:25])
    assert "](results/figures/headline.png)" in first and "<!-- end of results -->" in first


def test_every_module_has_its_place_in_the_readme():
    """Every package, and every module that stands beside the packages."""
    rows = "\n".join(re.findall(r"^\| `.*", README, re.MULTILINE))
    named = set(re.findall(r"`(\w+/|\w+\.py)`", rows))
    kit = ROOT / "locadv_tf"
    there = {path.name for path in kit.glob("*.py")} - {"__init__.py"}
    there |= {f"{path.parent.name}/" for path in kit.glob("*/__init__.py")}
    assert there == named
