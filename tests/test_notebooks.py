"""Every notebook: its form, and a run through papermill on the smoke profile with what it leaves behind."""

import ast
import base64
import copy
import html
import io
import json
import re
import shutil
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import yaml

import locadv_tf as la
from locadv_tf.reports import notebooks, report, schema
from locadv_tf.reports import page as pages
from locadv_tf.training.recipes import TRAININGS
from locadv_tf.verdicts import checklist

# The checks that must be among those which fail on each mistake of the pitfalls: the ones that name its cause.
CAUGHT_BY = {
    "05_evaluation_pitfalls": {
        "1 tiny steps": {"iterative beats single step", "more steps change little", "loss has stopped rising"},
        "2 hidden softmax": {"few gradients are zero", "white box beats transfer"},
        "3 rounding": {"few gradients are zero", "white box beats transfer", "planted image is found"},
        "4 random model": {"finite and deterministic"},
        "5 start unmasked": {"foreground untouched"},
    },
    "05b_more_pitfalls": {
        "7 label leak": {"planted image is found", "iterative beats single step", "more steps change little"},
        "8 own answers": {"best point is handed in"},
        "10 training mode": {"weights untouched"},
        "11 no clip": {"budget and range kept"},
    },
}

NAMES = [path.stem for path in notebooks.lessons()]
WITH_TURNS = (  # lessons with "Your turn" cells
    "00_start_here", "01_localized_attacks", "02_data_and_masks", "03_background_sensitivity", "03b_reliance",
    "04_localized_adversarial_training", *CAUGHT_BY, "06_report", "07_photographs",
)  # fmt: skip
SHORT = (*WITH_TURNS, "appendix_batch")


def cells_of(name, kind=None):
    """The lesson's cells; test_colab.py sees to badge and installation."""
    cells = nbformat.read(notebooks.NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    lesson = [cell for cell in cells if "colab" not in cell.metadata.get("tags", [])]
    return [cell for cell in lesson if kind in (None, cell.cell_type)]


def test_all_are_there_and_the_appendix_comes_last():
    assert [name.split("_")[0] for name in NAMES[:-1]] == ["00", "01", "02", "03", "03b", "04", "05", "05b", "06", "07"]
    assert NAMES[-1] == "appendix_batch"


@pytest.mark.parametrize("name", SHORT)
def test_a_short_lesson_fits_its_time(name):
    words = sum(len(cell.source.split()) for cell in cells_of(name, "markdown"))
    code = [cell for cell in cells_of(name, "code") if "parameters" not in cell.metadata.get("tags", [])]
    longest = max(len(cell.source.splitlines()) for cell in code)
    assert words <= 1500 and len(cells_of(name)) <= 40 and longest <= 15


def turns_of(notebook):
    """A lesson's "Your turn" cells with their model answers: pairs of a cell and the line that takes `mine`'s place."""
    cells = notebook.cells
    answers = {i: re.search(r"```python\n(.+)\n```", cells[i + 1].source) for i, cell in enumerate(cells[:-1])}
    tagged = [i for i, cell in enumerate(cells) if "your-turn" in cell.metadata.get("tags", [])]
    return [(cells[i], answers[i].group(1)) for i in tagged]


@pytest.mark.parametrize("name", WITH_TURNS)
def test_a_lesson_gives_two_turns_and_folds_their_answers(name):
    turns = turns_of(nbformat.read(notebooks.NOTEBOOKS / f"{name}.ipynb", as_version=4))
    assert len(turns) == 2
    for cell, answer in turns:
        assert cell.source.count("\nmine = None  # change this line\n") + cell.source.startswith("mine = None") == 1
        assert answer.startswith("mine = ") and answer not in cell.source


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """From here on runs take lessons with each "Your turn" cell twice: with its model answer, then as it stands."""
    there = tmp_path / "answered" / "notebooks"
    shutil.copytree(notebooks.NOTEBOOKS, there)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", there)
    for name in WITH_TURNS:
        notebook = nbformat.read(notebooks.notebook_path(name), as_version=4)
        for cell, answer in turns_of(notebook):
            source = cell.source.replace("mine = None  # change this line", answer)
            twin = nbformat.v4.new_code_cell(source, metadata=copy.deepcopy(cell.metadata))
            notebook.cells.insert(notebook.cells.index(cell), twin)
        nbformat.write(notebook, notebooks.notebook_path(name))


def check_turns(path):
    """In an executed lesson that was `answered`: the answers are right, and an empty turn says so and stops nothing."""
    cells = nbformat.read(path, as_version=4).cells
    turns = [cell for cell in cells if "your-turn" in cell.metadata.get("tags", [])]
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in turns]
    assert len(said) == 4 and all(text.startswith("right") for text in said[::2])
    assert all(text.startswith("not yet: ") for text in said[1::2])


@pytest.mark.slow
def test_the_folded_answers_are_right(tmp_path, papermill_command, answered):
    """Of the lesson that the guide's command runs; the answers of the others run with them, below."""
    name = Path(papermill_command[1]).stem
    report.run_notebook(name, tmp_path, profile="smoke")
    check_turns(tmp_path / f"{name}.ipynb")


def test_the_quality_of_masks_is_that_of_the_benchmark():
    page = (notebooks.NOTEBOOKS.parent / "benchmarks" / "MASK_QUALITY.md").read_text(encoding="utf-8")
    lesson = "\n".join(cell.source for cell in cells_of("02_data_and_masks", "markdown"))
    rows = [line for line in lesson.splitlines() if re.match(r"\| \w+ \| [\d.]+ \[", line)]
    assert len(rows) == 6 and set(rows) <= set(page.splitlines())
    assert re.search(r"`python (.+?)`", page).group(1) in lesson.replace("\n", " ")


def test_the_gap_of_three_trainings_is_that_of_the_measured_table():
    page = (notebooks.NOTEBOOKS.parent / "docs" / "results.md").read_text(encoding="utf-8")
    lesson = "\n".join(cell.source for cell in cells_of("03b_reliance", "markdown"))
    rows = [line for line in lesson.splitlines() if re.match(r"\| [\d.]+ \| [\d.]+ \[", line)]
    assert len(rows) == 4 and set(rows) <= set(page.splitlines())


def test_the_stored_results_on_mnist_say_what_the_answers_of_the_lessons_say():
    stored = la.LessonParts("04_localized_adversarial_training", live=False).stored
    accuracy = {row["region"]: row["accuracy"] for row in stored("mnist") if row["model"] == "natural"}
    photographs = la.LessonParts("07_photographs", live=False).stored("regions")
    attacked = next(row for row in photographs if (row["model"], row["region"]) == ("natural", "background"))
    assert accuracy["background"] > attacked["accuracy"]
    for quantity, rows in stored("differences").items():
        low, high = ({row["against"]: row[end] for row in rows} for end in ("low", "high"))
        assert {"natural", "random mask", "AT"} <= set(high) <= set(TRAININGS) - {"LAT"}
        assert all(low[name] < row["difference"] < high[name] for name, row in ((row["against"], row) for row in rows))
        assert high["random mask"] > 0 and high["AT"] > 0, "LAT is not better"
        assert quantity != "background loss" or high["natural"] < 0


@pytest.mark.parametrize("path", sorted(notebooks.NOTEBOOKS.rglob("source/*/*.ipynb")), ids=lambda path: path.stem)
def test_an_assignments_cells_fit_a_screen(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not [cell.id for cell in cells if len(cell.source.splitlines()) > 25]


@pytest.mark.parametrize("name", NAMES)
class TestForm:
    def test_it_validates_and_holds_no_outputs(self, name):
        nbformat.validate(nbformat.read(notebooks.NOTEBOOKS / f"{name}.ipynb", as_version=4))
        assert all(not cell.outputs and cell.execution_count is None for cell in cells_of(name, "code"))

    def test_it_is_short(self, name):
        assert len(cells_of(name)) <= 40
        code = [cell for cell in cells_of(name, "code") if "parameters" not in cell.metadata.get("tags", [])]
        assert not [cell.source for cell in code if len(cell.source.splitlines()) > 20]

    def test_it_has_one_main_heading_in_its_first_cell(self, name):
        headings = [re.findall(r"^# .+", cell.source, re.MULTILINE) for cell in cells_of(name, "markdown")]
        assert len(headings[0]) == 1 and not any(headings[1:])

    def test_nothing_imports_tensorflow_before_the_kit_which_keeps_its_messages_away(self, name):
        """A run under pytest cannot see those messages: there ipykernel does not watch the file descriptor."""
        code = "\n".join(cell.source for cell in cells_of(name, "code"))
        assert re.search(r"^(?:import|from) (locadv_tf|tensorflow|keras)\b", code, re.MULTILINE).group(1) == "locadv_tf"

    def test_parameters_are_literals_one_per_line_with_a_comment(self, name):
        (cell,) = [cell for cell in cells_of(name, "code") if "parameters" in cell.metadata.get("tags", [])]
        for line in cell.source.splitlines():
            (statement,) = ast.parse(line).body
            ast.literal_eval(statement.value)
            comment = line.partition("#")[2]
            assert comment.strip() and "=" not in comment, "papermill loses a parameter with a second '=' on its line"

    def test_defaults_are_those_of_the_class_profile(self, name):
        profile = notebooks.profile_parameters("class")
        for parameter, (default, _) in notebooks.notebook_parameters(notebooks.NOTEBOOKS / f"{name}.ipynb").items():
            assert profile.get(parameter, default) == default

    def test_every_profile_fits(self, name):
        for profile in notebooks.PROFILES:
            values = notebooks.profile_parameters(profile)
            notebooks.check_parameters(notebooks.notebook_path(name), values, known_only=True)

    def test_the_last_cell_writes_the_metrics(self, name):
        assert "write_metrics(" in cells_of(name)[-1].source


def test_every_profile_parameter_is_one_of_some_notebook():
    known = set().union(*(notebooks.notebook_parameters(notebooks.notebook_path(name)) for name in NAMES))
    for profile in notebooks.PROFILES:
        assert set(notebooks.profile_parameters(profile)) <= known


def check_html(path):
    """One file that opens offline: no script, no link to fetch, every picture inside it and described."""
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|<iframe|@import|url\(", page)
    pictures = re.findall(r"<img[^>]*>", page)
    for picture in pictures:
        assert 'src="data:image/png;base64,' in picture
        alt = re.search(r'alt="([^"]*)"', picture).group(1)
        assert len(alt) > 20 and "No description" not in alt
    assert "input_area" not in page and "max_colwidth" not in page
    return page, pictures


def check_run(folder, stem):
    executed = nbformat.read(folder / f"{stem}.ipynb", as_version=4)
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert not [kind for kind in kinds if "widget" in kind], "a widget is dead once its kernel is gone"
    noise = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert not noise, f"on stderr, which a student sees in red: {noise[:500]}"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {
        "schema", "version", "parameters", "results", "versions", "device", "finished", "wall_seconds",
    }  # fmt: skip
    assert metrics["device"].startswith(("CPU", "GPU")) and metrics["results"]
    return metrics


QUICK = "01_localized_attacks"  # `make test` runs this one; `make test-slow` runs the others
ELSEWHERE = ("06_report", "07_photographs")  # have tests of their own below
LESSONS = [name for name in NAMES if name not in ELSEWHERE]


@pytest.mark.parametrize("name", [n if n == QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LESSONS])
def test_a_lesson_runs_on_the_smoke_profile(name, tmp_path, request, papermill_command):
    if f"{name}.ipynb" == papermill_command[1]:  # it has run already, or will have
        folder = request.getfixturevalue("papermill_run")
        metrics = check_run(folder, Path(papermill_command[2]).stem)
        path = pages.export_html(folder / papermill_command[2], tmp_path / f"{name}.html")
    else:
        request.getfixturevalue("answered")
        path = report.run_notebook(name, tmp_path, profile="smoke")
        metrics = check_run(tmp_path, name)
        if name in WITH_TURNS:
            check_turns(tmp_path / f"{name}.ipynb")
    asked = notebooks.check_parameters(
        notebooks.notebook_path(name), notebooks.profile_parameters("smoke"), known_only=True
    )
    assert asked.items() <= metrics["parameters"].items()
    if name in CAUGHT_BY:
        caught, expected = metrics["results"]["caught"], CAUGHT_BY[name]
        assert list(caught) == list(expected)
        assert not {mistake: missed for mistake in caught if (missed := expected[mistake] - set(caught[mistake]))}
    if name == "05_evaluation_pitfalls":
        rows = metrics["results"]["bounds"]  # an attack, then its proof, for each budget and classifier
        pairs = [(a["accuracy"], b["accuracy"]) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        assert all(attacked >= proven for attacked, proven in pairs)
        assert all(attacked == proven for attacked, proven in pairs[:2]), "eps = 0 is the natural accuracy"
        assert any(proven > 0 for _, proven in pairs[2:]), "something is proven"
        rows = [row for row in metrics["results"]["scores"] if row["pitfall"].split() == ["2", "hidden", "softmax"]]
        theirs, ours = rows  # of the seller's AutoAttack, and of plain PGD on the logits
        assert theirs["accuracy_low"] > ours["accuracy_high"], "AutoAttack is no oracle"
    if name == "04_localized_adversarial_training":
        matrix = [list(row.values()) for row in metrics["results"]["transfer"]]  # made on, then shown to each
        _, *shown_to = metrics["results"]["transfer"][0]
        assert [source for source, *_ in matrix] == shown_to and len(shown_to) >= 3
        shares = np.array([[int(share.removesuffix(" %")) for share in row] for _, *row in matrix])
        transferred = shares[~np.eye(len(shares), dtype=bool)]
        assert transferred.mean() < shares.diagonal().mean(), "an attack fits the classifier that it was made on"
    _, pictures = check_html(path)
    assert pictures
    if name in WITH_TURNS:
        text = Path(path).read_text(encoding="utf-8")
        assert text.count("not yet: ") == 2, "an empty turn says so, and stops nothing"
    if name == "appendix_batch":  # the timetable that it draws is the engine's
        assert metrics["results"]["gradients_counted"] == metrics["results"]["gradients_expected"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01_localized_attacks", "03_background_sensitivity"])
def test_a_lesson_takes_stored_classifiers(name, tmp_path):
    given = {"stored": True, "epochs": 0}  # which no training takes
    if name == "01_localized_attacks":
        given["own_image"] = str(tmp_path / "green.png")
        keras.utils.save_img(given["own_image"], np.full((50, 70, 3), [0, 255, 0]), scale=False)
    report.run_notebook(name, tmp_path, profile="smoke", parameters=given)
    metrics = check_run(tmp_path, name)
    assert given.items() <= metrics["parameters"].items()
    if name == "01_localized_attacks":
        cells = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4).cells
        (drawn,) = [cell.outputs for cell in cells if 'title="Digits on a photograph"' in cell.source]
        picture = re.search(r'base64,([^"]+)', drawn[0].data["text/html"]).group(1)
        red, green, blue = np.moveaxis(plt.imread(io.BytesIO(base64.b64decode(picture)))[..., :3], -1, 0)
        assert np.mean((green > 0.95) & (red < 0.05) & (blue < 0.05)) > 0.2, "one's own photograph is the background"
    if name == "03_background_sensitivity":
        x, y, _ = la.to_arrays(la.load_data("composite", "test", limit=100, correlation=0))
        correct = la.load_model("composite-4-natural")(x).numpy().argmax(axis=-1) == y
        assert metrics["results"]["regions"][0]["accuracy"] == pytest.approx(correct.mean())


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_the_photographs_run_with_and_without_their_data(live, tmp_path, request, monkeypatch, answered):
    """Without the data the stored results are shown: the same parts, and the same figures."""
    folder = request.getfixturevalue("tfds_dir") if live else tmp_path
    if live and not (folder / "caltech10_outlines").is_dir():
        pytest.skip(f"caltech10_outlines is not prepared in {folder}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    path = report.run_notebook("07_photographs", tmp_path / "out", profile="smoke")
    results = check_run(tmp_path / "out", "07_photographs")["results"]
    check_turns(tmp_path / "out" / "07_photographs.ipynb")
    stored = json.loads((notebooks.NOTEBOOKS / "stored" / "07_photographs" / "metrics.json").read_text())["results"]
    assert results["computed here"] is live and list(results) == list(stored)
    if not live:
        assert results | {"computed here": True} == stored
    for mine, theirs in ((results[name], stored[name]) for name in ("trainings", "eps", "exchanged", "regions")):
        assert [row.get("model") for row in mine] == [row.get("model") for row in theirs]
        assert [set(row) for row in mine] == [set(row) for row in theirs]
    page, pictures = check_html(path)
    assert len(pictures) == 11
    assert page.count("not yet: ") == 2  # the "Your turn" cells, left empty
    assert ("The photographs are not here" in page) != live


@pytest.mark.parametrize(
    ("dataset", "parameters"),
    [
        ("digits", {}),
        ("mnist", {"train_limit": 300, "test_limit": 60, "trainings": ["natural"]}),
        ("composite", {"train_limit": 300, "test_limit": 40, "epochs": 2, "trainings": ["natural"]}),
    ],
)
@pytest.mark.slow
def test_the_report_runs_on_the_smoke_profile(dataset, parameters, tmp_path, request, monkeypatch):
    if dataset == "mnist":
        monkeypatch.setenv("TFDS_DATA_DIR", str(request.getfixturevalue("tfds_dir")))
    if dataset == "digits":
        request.getfixturevalue("answered")
    path = report.report(dataset=dataset, profile="smoke", seed=1, out=tmp_path, parameters=parameters)
    metrics = check_run(tmp_path, "report")
    if dataset == "digits":
        check_turns(tmp_path / "report.ipynb")
    assert metrics["parameters"] | parameters | {"dataset": dataset, "seed": 1} == metrics["parameters"]
    assert schema.is_current(metrics)
    results = metrics["results"]
    models = set(metrics["parameters"]["trainings"])
    assert models == (set(parameters["trainings"]) if parameters else set(TRAININGS))
    assert {row["model"] for row in results["rows"]} == models
    assert {row["model"] for row in results["challenge"]} == (models if dataset == "composite" else set())
    assert {row["condition"] for row in results["rows"]} == {"natural", "noise", "foreground", "background", "full"}
    for row in results["rows"]:
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] and row["loss"] > 0
    looked_at = models & {"natural", "LAT"}
    assert {(row["model"], row["source"]) for row in results["reliance"]} >= {
        (name, source) for name in looked_at for source in ("own", "random")
    }
    assert set(results["verdicts"]) == models
    for rows in results["verdicts"].values():
        assert [row["check"] for row in rows] == list(checklist.CHECKS)
    assert {row["attack"] for row in results["headline"]} == {"LocalizedAutoAttack (smoke)", "PGD-5"}
    page, pictures = check_html(path)
    assert len(pictures) >= 7
    for row in results["claims"]:
        assert row["verdict"] in ("lower", "higher", "open", "met", "not met")
        assert row["claim"] in page
    assert page.index("Can the numbers be trusted?") < page.index("Threat model")
    for rows in results["verdicts"].values():
        assert html.escape(checklist.headline(rows), quote=False) in page
        assert all(html.escape(row["reason"], quote=False) in page for row in rows)
    own, _, studies = page.partition("The kit's own studies")  # these alone have several seeds
    assert "not corrected for their number" in page and "supported" not in own
    stored = la.LessonParts("06_report", live=False).stored
    assert all(html.escape(title) in studies for title in ("MNIST, 26/255", *stored("not run yet")))
    lacking = {"cifar10", "caltech10_outlines"} - set(stored("studies"))  # have older numbers instead
    assert studies.count("an older, smaller run") == len(lacking)
    assert ("of the sum of absolute differences" in page) == ({"natural", "LAT"} <= models)
    assert "Threat model" in page and "Claims ledger" in page and "filled in at the end" not in page
    assert "Your turn" not in page and "not yet: " not in page, "a report asks nothing of its readers"


def test_profiles_are_plain_values():
    for profile in notebooks.PROFILES:
        text = (notebooks.NOTEBOOKS / "params" / f"{profile}.yaml").read_text()
        assert all(value is None or isinstance(value, (int, float, str)) for value in yaml.safe_load(text).values())
