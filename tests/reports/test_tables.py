"""Tables: units, intervals, and nothing cut off."""

from locadv_tf.reports.tables import headline_table, results_table, verdicts_table

ROW = {
    "model": "LAT", "condition": "background", "accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75,
    "asr": None, "asr_low": None, "asr_high": None, "loss": 1.23456, "loss_low": None, "loss_high": None,
    "eps": 8 / 255, "largest_change": 4 / 255, "psnr": 31.26, "ssim": 0.9, "n": 100, "clipped": 0.5,
}  # fmt: skip


def test_texts():
    columns = ("model", "accuracy", "asr", "loss", "eps", "largest_change", "psnr", "ssim", "n", "clipped")
    assert list(results_table([ROW], columns=columns).frame.iloc[0]) == [
        "LAT", "50.0 [25.0 to 75.0]", "–", "1.235", "8/255", "4/255", "31.3", "0.900", "100", "50.0",
    ]  # fmt: skip


def test_headings_have_units():
    assert list(results_table([ROW]).frame.columns) == [
        "model", "condition", "accuracy (%)", "attack success rate (%)", "loss (cross-entropy)",
    ]  # fmt: skip


def test_html_is_escaped_and_whole():
    html = results_table([ROW | {"model": "<b>" + "long" * 50}]).html()
    assert "&lt;b&gt;" in html and "long" * 50 in html and "..." not in html


def test_a_figure_of_fewer_seeds_than_its_row_says_so():
    row = {"seeds": 3, "loss": 1.0, "loss_seeds": 2, "accuracy": 0.5, "accuracy_seeds": 3}
    assert list(results_table([row], columns=("loss", "accuracy")).frame.iloc[0]) == ["1.000 (2 of the seeds)", "50.0"]


def test_the_headline_names_the_checks_that_failed_and_the_trainings_without_checks():
    share = {"natural_accuracy": 0.9, "natural_accuracy_low": 0.8, "natural_accuracy_high": 0.95}
    rows = [ROW | share | {"model": name, "attack": attack} for name in ("LAT", "AT") for attack in ("strong", "PGD-5")]
    checked = {"LAT": [{"check": "one", "outcome": "fail"}, {"check": "two", "outcome": "pass"}]}
    frame = headline_table(rows, checked).frame
    assert list(frame.columns) == ["model", "natural (%)", "strong (%)", "PGD-5 (%)", "checks that failed"]
    assert list(frame.iloc[0]) == ["LAT", "90.0 [80.0 to 95.0]", *2 * ["50.0 [25.0 to 75.0]"], "one"]
    assert list(frame["checks that failed"]) == ["one", "not checked"]


def test_outcomes_may_stand_without_their_reasons():
    rows = [{"check": "one", "outcome": "fail", "reason": "9 values", "numbers": {}}]
    assert list(verdicts_table({"LAT": rows}).frame["LAT"]) == ["✘ FAIL: 9 values"]
    assert list(verdicts_table({"LAT": rows}, reasons=False).frame["LAT"]) == ["✘ FAIL"]
