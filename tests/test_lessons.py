"""What a lesson owes a student: the point first, an answer to every question, sources that can be found."""

import re

import nbformat
import pytest

import locadv_tf as la
from locadv_tf.reports import notebooks

NUMBERED = [path.stem for path in notebooks.lessons() if path.stem[0].isdigit()]
OPENING = "00_start_here"
ASKS = r"\*\*(?:Before you |Guess)[^*]*\*\*|^### Your turn|^\*\*Check yourself\*\*"
ANSWERS = "<details><summary>"


def cells(name):
    """A lesson's own cells: without those for Colab, which come first once `locadv colab` knows an address."""
    found = nbformat.read(notebooks.notebook_path(name), as_version=4).cells
    return [cell for cell in found if "colab" not in cell.metadata.get("tags", [])]


def texts(name):
    return [cell.source for cell in cells(name) if cell.cell_type == "markdown"]


def unanswered(text):
    """The questions of a text that have no folded answer before the next question."""
    asked, found = None, []
    for hit in re.finditer(f"{ASKS}|{ANSWERS}", text, re.MULTILINE):
        if hit.group() == ANSWERS:
            asked = None
            continue
        if asked is not None:
            found.append(asked)
        asked = text[hit.start() : hit.start() + 60]
    return found if asked is None else [*found, asked]


@pytest.mark.parametrize("name", [*NUMBERED, "appendix_batch"])
def test_every_question_has_a_folded_answer(name):
    assert unanswered("\n\n".join(texts(name))) == []


def test_a_question_without_an_answer_is_seen():
    folded = f"{ANSWERS}Answer</summary>\n\nNo.\n\n</details>"
    assert unanswered(f"**Before you run:** a?\n\n{folded}\n\n**Guess first:** b?") == ["**Guess first:** b?"]
    assert unanswered(f"### Your turn\n\na\n\n**Before you look:** b?\n\n{folded}")[0].startswith("### Your turn")


@pytest.mark.parametrize("name", NUMBERED)
def test_further_reading_can_be_found(name):
    (listed,) = re.findall(r"\*\*Further reading[.:]*\*\*[.:]*(.+?)(?:\n\n|\Z)", "\n\n".join(texts(name)), re.DOTALL)
    sources = re.split(r"; |(?<=[^.]\.) (?=[A-Z]\w+ et al\. \()", " ".join(listed.split()))
    assert len(sources) >= 3
    for source in sources:
        assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi 10\.\d{4,}/\S+", source), source


def test_the_first_thing_is_the_picture_and_its_caveat():
    """No glossary, no notice, no section before it; then the one sentence that keeps it honest."""
    title, parameters, _, picture, caveat, *_ = cells(OPENING)
    assert title.cell_type == caveat.cell_type == "markdown" and len(title.source.split()) < 80
    assert not re.search(r"^## |^\|", title.source + caveat.source, re.MULTILINE)
    assert "parameters" in parameters.metadata.tags and "la.plotting.image_grid(" in picture.source
    assert re.search(r"most pixels are background\. On equally few of them", caveat.source)


def test_the_price_on_cifar10_is_that_of_the_measured_table():
    page = (notebooks.NOTEBOOKS.parent / "docs" / "results.md").read_text(encoding="utf-8")
    measured = [line.strip("| ").split(" | ") for line in page.splitlines() if line.count(" | ") == 10]
    measured = {name: numbers[6:9] for name, *numbers in measured}  # after the columns of MNIST, and the cost
    called = {"LAT, 5 steps": "PGD-5"}
    lesson = "\n".join(texts("04_localized_adversarial_training"))
    rows = re.findall(r"^\| (natural|LAT, .+?) \| [\d.]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", lesson, re.MULTILINE)
    assert len(rows) == 4
    for name, *numbers in rows:
        assert measured[called.get(name, name.removeprefix("LAT, "))] == numbers, name
    older = la.LessonParts("06_older", live=False).stored("cifar10")["rows"]  # what the report shows
    assert [tuple(row.values()) for row in older] == rows


def test_the_older_numbers_on_photographs_are_those_of_lesson_07():
    accuracy = {}
    for row in la.LessonParts("07_photographs", live=False).stored("regions"):
        numbers = (100 * row[f"accuracy{end}"] for end in ("", "_low", "_high"))
        accuracy[row["model"], row["region"]] = "{:.1f} [{:.1f} to {:.1f}]".format(*numbers)
    older = la.LessonParts("06_older", live=False).stored("caltech10_outlines")["rows"]
    assert [row["training"] for row in older] == ["natural", "random mask", "LAT", "AT"]
    for name, *numbers in (row.values() for row in older):
        assert numbers == [accuracy[name, region] for region in ("not attacked", "background", "full")], name


@pytest.mark.parametrize("name", [name for name in NUMBERED if name[:2] not in ("00", "02")])  # 02 attacks nothing
def test_later_lessons_point_to_the_threat_model_of_the_first(name):
    assert re.search(r"threat\s+model\s+is\s+that\s+of\s+lesson\s+00", "\n".join(texts(name)))


@pytest.mark.slow
def test_catastrophic_overfitting_really_happens_where_it_is_announced():
    """Section 7 of lesson 04 at its own size: with one step the strong exam falls, the weak one does not."""
    lesson = nbformat.read(notebooks.notebook_path("04_localized_adversarial_training"), as_version=4)
    (cell,) = [cell for cell in lesson.cells if "OverfittingWatch(" in cell.source and cell.cell_type == "code"]
    own = {"la": la, "epochs": 20, "more": 10, "seed": 0, "train_limit": None, "train_attack": la.single_step(4 / 255)}
    exec(cell.source, own)
    assert own["verdicts"]["one step"].startswith("catastrophic overfitting in epoch")
    exams = {
        name: [own["provoked"][name][f"val_{exam}_accuracy"] for exam in ("weak", "strong")] for name in own["tried"]
    }
    weak, strong = exams["one step"]
    assert weak[-1] > 0.4 and strong[-1] < 0.12 < 0.2 < strong[0]
    assert min(exams["5 steps"][1]) > 0.25, "with more steps it does not happen"
