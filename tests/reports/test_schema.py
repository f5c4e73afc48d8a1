"""The form of a report's `metrics.json`: what fits is read, all else is refused by name or passed over."""

import copy
import json

import jsonschema
import pytest

from locadv_tf.reports import metrics, schema

NOTHING = {name: {"array": [], "object": {}, "number": 0.1}[part["type"]] for name, part in schema.RESULTS.items()}
ASKED = {"dataset": "digits", "seed": 0, "eps": None, "train_limit": None, "epochs": 1, "trainings": ["LAT"]}
ROW = {"model": "LAT", "condition": "full", "attack": "PGD-5", "region": "full", "eps": 0.1, "n": 9, "accuracy": 0.5}


@pytest.fixture
def written(tmp_path):
    """`written(change)`: the path of a report's file after a change to its content."""

    def write(change=lambda content: None):
        results = NOTHING | {"rows": [ROW | {"loss": float("nan")}]}
        path = metrics.write_metrics(tmp_path, parameters=ASKED, results=results, kind="report")
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content) or content))
        return path

    return write


def test_the_schema_is_one_and_says_what_each_result_is():
    jsonschema.Draft202012Validator.check_schema(schema.REPORT)
    assert all(len(part["description"]) > 10 for part in schema.RESULTS.values())


def test_a_report_is_read_and_may_hold_more(written):
    content = schema.read_report(written(lambda content: content["results"].update(more=3)))
    assert (content["schema"], content["version"]) == ("locadv_tf/report", 3)
    assert content["results"]["rows"] == [ROW | {"loss": None}] and content["results"]["more"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content.update(version=4),
            "is a report of version 4; this kit reads version 3. Run the report",
        ),
        (lambda content: content.pop("version") and None, "is a report of version None"),
        (
            lambda content: {"parameters": ASKED, "results": content["results"]},
            r"is a report of version 1; .* \(locadv report, or the same locadv sweep\), or move the folder away",
        ),
        (lambda content: content["results"].pop("rows") and None, "at results: 'rows' is a required property"),
        (
            lambda content: content["results"]["rows"][0].pop("loss"),
            r"at results.rows.0: 'loss' is a required property",
        ),
        (lambda content: content["results"].update(eps="0.1"), "at results.eps: '0.1' is not of type 'number'"),
        (lambda content: content["parameters"].pop("seed") and None, "at parameters: 'seed' is a required property"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_files_name(change, message, written):
    path = written(change)
    with pytest.raises(ValueError, match=message) as caught:
        schema.read_report(path)
    assert str(caught.value).startswith(str(path))


def test_half_a_file_is_refused(tmp_path):
    (tmp_path / "metrics.json").write_text('{"schema": ')
    with pytest.raises(ValueError, match=r"metrics.json is no JSON .* run the report again"):
        schema.read_report(tmp_path / "metrics.json")


@pytest.mark.parametrize("content", [{"parameters": {}, "results": {}}, {"schema": "else", "version": 3}, {}, [], 3])
def test_what_is_no_report_is_passed_over(content, tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert schema.read_report(tmp_path / "metrics.json") is None


def test_a_lessons_file_says_what_it_is_and_is_passed_over(tmp_path):
    path = metrics.write_metrics(tmp_path, parameters={}, results={"claims": "its own affair"})
    content = json.loads(path.read_text())
    assert (content["schema"], content["version"]) == ("locadv_tf/run", 1)
    assert schema.read_report(path) is None and not schema.is_current(content)


def test_a_report_that_does_not_fit_is_not_written(tmp_path):
    lacking = copy.deepcopy(NOTHING)
    del lacking["histories"]
    with pytest.raises(
        ValueError, match=r"metrics.json does not fit .* at results: 'histories' is a required property"
    ):
        metrics.write_metrics(tmp_path, parameters=ASKED, results=lacking, kind="report")
    with pytest.raises(ValueError, match="kind='lesson' is unknown; expected one of 'report', 'run'"):
        metrics.write_metrics(tmp_path, parameters={}, results={}, kind="lesson")
    assert not list(tmp_path.iterdir())
