"""Codes of one's own: from the course's secret, no two alike, checked against typing errors."""

import csv

import pytest

from locadv_tf.course import codes, feedback


@pytest.fixture
def course(tmp_path):
    codes.secret(tmp_path, make=True)
    return tmp_path


def test_a_thousand_students_share_nothing(course, monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    (course / codes.SECRET).write_text("5e" * 32)
    students = [f"student{i}" for i in range(1000)]
    given = [codes.code(course, student) for student in students]
    assert len(set(given)) == len({each[:8] for each in given}) == 1000
    assert len({feedback.own_seed(*each) for each in zip(students, given, strict=True)}) == 1000


def test_another_course_has_other_codes(course, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match="expected the secret of a course"):
        codes.code(other, "ada")
    codes.secret(other, make=True)
    assert codes.code(course, "ada") != codes.code(other, "ada") and codes.code(course, "ada") == codes.code(
        course, "ada"
    )


def test_a_table_of_codes_for_the_mail(course):
    (course / "students.txt").write_text("ada\n\n bob \nada\n")
    with codes.write(course, course / "students.txt", course / "out" / "codes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"student": name, "code": codes.code(course, name)} for name in ("ada", "bob")]
    with pytest.raises(ValueError, match="no student"):
        codes.write(course, [" "], course / "codes.csv")


def test_no_two_students_of_a_table_share_their_numbers(course, monkeypatch):
    monkeypatch.setattr(feedback, "seed_of", lambda code: 7)
    codes.write(course, ["ada"], course / "codes.csv")
    with pytest.raises(ValueError, match="two of these students would have the same numbers"):
        codes.write(course, ["ada", "bob"], course / "codes.csv")


def test_a_code_with_a_typing_error_or_of_somebody_else(course, monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    mine = codes.code(course, "ada")
    feedback.own_seed(" ada ", f" {mine.upper()} ")
    for student, code in (("ada", mine[1:]), ("ada", mine[::-1]), ("Ada", mine), ("bob", mine)):
        with pytest.raises(ValueError, match="is not that of student"):
            feedback.own_seed(student, code)
    for student, code, message in (("", mine, "student is empty"), ("ada", "", "code is empty")):
        with pytest.raises(ValueError, match=message):
            feedback.own_seed(student, code)


def test_in_grading_the_folder_and_the_secret_decide(course, monkeypatch, tmp_path, capsys):
    own, other = (codes.code(course, student) for student in ("grace", "ada"))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    expected = feedback.own_seed("grace", own)
    (tmp_path / "grace" / "2_attack").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "grace" / "2_attack")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    monkeypatch.setenv(codes.VARIABLE, own)
    assert expected == feedback.own_seed("", "") == feedback.own_seed("ada", other)
    assert "says student = 'ada', but 'grace' handed it in" in capsys.readouterr().out
    monkeypatch.delenv(codes.VARIABLE)  # `nbgrader autograde` without `locadv`: the code in the notebook
    assert feedback.own_seed("", own) == expected
    with pytest.raises(ValueError, match="is not that of student 'grace'"):
        feedback.own_seed("ada", other)
