"""The claims ledger: verdicts follow from intervals, on measurements whose answers are known."""

import numpy as np
import pytest

from locadv_tf.evaluation.measurement import Measurement, natural_row, summarize
from locadv_tf.reports import claims
from locadv_tf.reports.tables import claims_table
from locadv_tf.training.recipes import TRAININGS

N = 200


def measurement(*, correct=1.0, loss=1.0, natural_correct=1.0, natural_loss=1.0, ssim=0.99, change=0.01, seed=0):
    """A measurement with these means; the same seed gives the same noise, so that pairs differ by their means alone."""
    rng = np.random.default_rng(seed)
    position = (np.arange(N) + 0.5) / N
    noise = rng.normal(0, 0.1, N) - 0.0
    zeros = np.zeros(N)
    return Measurement(
        correct=position < correct,
        loss=loss + noise,
        natural_correct=position < natural_correct,
        natural_loss=natural_loss + noise,
        mean_change=zeros + change,
        largest_change=zeros + change,
        psnr=zeros + 40,
        ssim=zeros + ssim,
        nonfinite=zeros > 0,
        clipped=zeros,
        evaluations=zeros,
    )


def measurements(natural=None, lat=None):
    """All models alike, but for the changes; every condition of a model alike, but for the noise."""
    models = {name: {} for name in TRAININGS}
    models |= {"natural": natural or {}, "LAT": lat or {}}
    return {
        name: {"background": measurement(**values), "full": measurement(**values), "noise": measurement()}
        for name, values in models.items()
    }


def verdicts(*arguments, eps=8 / 255, **changes):
    return {row["key"]: row["verdict"] for row in claims.ledger(measurements(**changes), eps=eps)}


@pytest.mark.parametrize(
    ("low", "high", "expected", "verdict"),
    [
        (0.1, 0.2, "above", "supported"),
        (-0.2, -0.1, "above", "not supported"),
        (-0.2, -0.1, "below", "supported"),
        (0.1, 0.2, "below", "not supported"),
        (-0.1, 0.2, "below", "undecided"),
        (0.0, 0.2, "above", "undecided"),
        (None, None, "above", "undecided"),
        (np.nan, np.nan, "below", "undecided"),
        (0.1, 0.1, "above", "undecided"),  # no width
    ],
)
def test_verdict(low, high, expected, verdict):
    assert claims.verdict(low, high, expected=expected) == verdict


def test_a_better_lat_is_supported_and_equal_models_are_undecided():
    found = verdicts(
        natural={"natural_loss": 1.5, "loss": 3.0, "correct": 0.4, "natural_correct": 0.9}, lat={"loss": 0.5}
    )
    assert found["natural_loss"] == found["background_loss"] == found["full_loss"] == "supported"
    assert found["natural_accuracy"] == found["background_accuracy"] == found["sensitivity"] == "supported"
    assert found["natural_loss_compute"] == found["natural_loss_at"] == "undecided"
    assert found["background_loss_compute"] == found["background_loss_noise"] == "supported"
    assert found["background_loss_mask"] == "supported" and found["natural_loss_mask"] == "undecided"
    assert set(verdicts().values()) - {"supported"} == {"undecided"}  # "imperceptibly" is about visibility alone


def test_the_controls_are_held_against_lat_and_do_not_count():
    rows = claims.ledger(measurements(natural={"loss": 3.0, "correct": 0.4}, lat={"loss": 0.5}), eps=8 / 255)
    assert {row["against"] for row in rows} == {None, *TRAININGS} - {"LAT"}
    assert sum(claims.counts(rows).values()) == 6  # sensitivity, three losses, two accuracies; not "imperceptibly"
    assert claims.counts(rows) == {"supported": 4, "not supported": 0, "undecided": 2}


def test_a_worse_lat_is_not_supported():
    found = verdicts(lat={"natural_loss": 2.0, "loss": 2.0, "natural_correct": 0.5, "correct": 0.2})
    del found["sensitivity"], found["imperceptible"]
    assert set(found.values()) == {"not supported"}


@pytest.mark.parametrize(
    ("eps", "ssim", "verdict"),
    [(8 / 255, 0.99, "supported"), (0.1, 0.99, "not supported"), (8 / 255, 0.9, "not supported")],
)
def test_imperceptibly_is_a_stated_convention(eps, ssim, verdict):
    assert verdicts(natural={"ssim": ssim}, eps=eps)["imperceptible"] == verdict


def test_a_claim_about_a_training_that_was_not_run_has_no_row():
    both = measurements()
    assert {row["against"] for row in claims.ledger({n: both[n] for n in ("LAT", "AT")}, eps=0.1)} == {"AT"}
    assert [row["key"] for row in claims.ledger({"natural": both["natural"]}, eps=0.1)] == [
        "sensitivity", "imperceptible",
    ]  # fmt: skip
    assert claims.ledger({"LAT": both["LAT"]}, eps=0.1) == []


def test_differences_from_rows_are_those_of_the_ledger():
    measured = measurements(
        natural={"natural_loss": 1.5, "loss": 3.0, "correct": 0.4, "natural_correct": 0.9}, lat={"loss": 0.5}
    )
    rows = [
        {"model": model, "condition": condition} | row
        for model, found in measured.items()
        for condition, row in [("natural", natural_row(found["background"]))]
        + [(condition, summarize(measurement)) for condition, measurement in found.items()]
    ]
    ledger = {
        row["key"]: row["difference"] for row in claims.ledger(measured, eps=0.1) if row["key"] != "imperceptible"
    }
    assert {row["key"]: row["difference"] for row in claims.differences(rows)} == pytest.approx(ledger)
    assert claims.differences([row for row in rows if row["model"] not in ("natural", "LAT")]) == []


def test_a_loss_that_is_not_finite_decides_nothing():
    measured = measurements(lat={"loss": np.nan, "natural_loss": np.inf})
    found = {row["key"]: row["verdict"] for row in claims.ledger(measured, eps=0.1) if "loss" in row["key"]}
    assert set(found.values()) == {"undecided"}
    rows = [{"model": model, "condition": "full"} | summarize(measured[model]["full"]) for model in measured]
    assert claims.differences(rows) == []


def test_a_model_that_gets_nothing_right_decides_nothing():
    rows = claims.ledger(measurements(natural={"natural_correct": 0.0, "correct": 0.0}), eps=0.1)
    assert rows[0]["verdict"] == "undecided" and rows[0]["n"] == 0


def test_the_table_shows_each_claim_whole():
    rows = claims.ledger(measurements(natural={"loss": 2.0}), eps=0.1)
    html = claims_table(rows)._repr_html_()
    for row in rows:
        assert row["claim"] in html and row["measured"].replace("&", "&amp;") in html
    assert "✔ supported" in html and "? undecided" in html
