"""docs/quizzes.md: five questions for each lesson, each with an answer and the place where it stands."""

import re
from pathlib import Path

import nbformat
import pytest

from locadv_tf.reports import notebooks

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "quizzes.md").read_text(encoding="utf-8")
QUIZZES = dict(zip(*[iter(re.split(r"^## `(\w+)`\n", PAGE, flags=re.MULTILINE)[1:])] * 2, strict=True))
LESSONS = [path.stem for path in notebooks.lessons() if path.stem[0].isdigit()]
FOLDED = re.compile(r"<details><summary>Answer</summary>\n\n(.+?)\n\n</details>", re.DOTALL)
WHERE = re.compile(r'\*Where: lesson (\w+), (?:section (\d+)|the opening|"(.+?)")\.\*$')


def questions(lesson):
    """Pairs of a question, with its options if it has some, and its folded answer."""
    parts = re.split(r"^\*\*(\d)\.\*\* ", QUIZZES[lesson], flags=re.MULTILINE)[1:]
    assert parts[::2] == [str(i) for i in range(1, 6)]
    found = [(FOLDED.sub("", part).strip(), FOLDED.findall(part)) for part in parts[1::2]]
    assert all(text and len(answers) == 1 for text, answers in found)
    return [(text, " ".join(answer.split())) for text, (answer,) in found]


@pytest.mark.parametrize("lesson", LESSONS)
class TestALesson:
    def test_has_five_questions_of_both_kinds_and_every_question_its_answer(self, lesson):
        right = []
        for text, answer in questions(lesson):
            options = re.findall(r"^- (\w)\) .+", text, re.MULTILINE)
            assert len(WHERE.sub("", answer).strip()) > 3
            if options:
                assert options == ["a", "b", "c"]
                right.append(re.match(r"\*\*([abc])\.\*\*", answer).group(1))
            else:
                assert re.search(r"[?.]", text) and not answer.startswith("**")
        assert 2 <= len(right) <= 4 and len(set(right)) > 1, "the right letter is not always the same"

    def test_each_answer_stands_at_a_place_that_exists(self, lesson):
        notebook = nbformat.read(notebooks.notebook_path(lesson), as_version=4)
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        numbers = re.findall(r"^## (\d+) · ", text, re.MULTILINE)
        titles = re.findall(r"^## (?:\d+ · )?(.+)$", text, re.MULTILINE)
        for _, answer in questions(lesson):
            where, section, title = WHERE.search(answer).groups()
            assert where == lesson.partition("_")[0]
            assert section is None or section in numbers
            assert title is None or title in titles
