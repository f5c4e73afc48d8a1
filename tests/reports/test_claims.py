"""The claims ledger: verdicts follow from intervals, on measurements whose answers are known."""

import numpy as np
import pytest

from locadv_tf.evaluation import intervals
from locadv_tf.evaluation.measurement import Measurement, natural_row, summarize
from locadv_tf.reports import claims
from locadv_tf.reports.tables import claims_table
from locadv_tf.training.recipes import TRAININGS

N = 200


def measurement(*, correct=1.0, loss=1.0, natural_correct=1.0, natural_loss=1.0, ssim=0.99, change=0.01, seed=0):
    """A measurement with about these means; the same seed gives the same noise: equal means are equal in each image."""
    rng = np.random.default_rng(seed)
    position = (np.arange(N) + 0.5) / N
    noise = 1 + rng.normal(0, 0.1, N)
    zeros = np.zeros(N)
    return Measurement(
        correct=position < correct,
        loss=loss * noise,
        natural_correct=position < natural_correct,
        natural_loss=natural_loss * noise,
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
    ("low", "high", "said"),
    [
        (0.1, 0.2, "higher"),
        (-0.2, -0.1, "lower"),
        (-0.1, 0.2, "open"),
        (0.0, 0.2, "open"),
        (None, None, "open"),
        (np.nan, np.nan, "open"),
        (0.1, 0.1, "open"),  # no width
    ],
)
def test_a_run_says_lower_higher_or_open(low, high, said):
    assert claims.direction(low, high) == said


@pytest.mark.parametrize(
    ("gain", "loss", "said"),
    [
        ((0.1, 0.2), (-0.009, 0.02), "met"),
        ((0.1, 0.2), (-0.011, 0.02), "open"),
        ((-0.1, 0.2), (0.01, 0.02), "open"),
        ((0.1, 0.2), (-0.05, -0.02), "not met"),
        ((-0.2, -0.1), (0.01, 0.02), "not met"),
        ((-0.1, 0.1), (-0.05, -0.02), "not met"),
        ((0.1, 0.2), (None, None), "open"),
    ],
)
def test_unnecessary_is_a_gain_under_attack_at_no_loss_of_natural_accuracy(gain, loss, said):
    assert claims.unnecessary(gain, loss) == said


def test_a_better_lat_agrees_with_the_abstract_and_equal_models_are_open():
    found = verdicts(
        natural={"natural_loss": 1.5, "loss": 3.0, "correct": 0.4, "natural_correct": 0.9}, lat={"loss": 0.5}
    )
    assert found["natural_loss"] == found["background_loss"] == found["full_loss"] == "lower"
    assert found["natural_accuracy"] == found["background_accuracy"] == found["sensitivity"] == "higher"
    assert found["unnecessary"] == "met"
    assert found["natural_loss_compute"] == found["natural_loss_at"] == "open"
    assert found["background_loss_compute"] == found["background_loss_noise"] == "lower"
    assert found["background_loss_mask"] == "lower" and found["natural_loss_mask"] == "open"
    assert set(verdicts().values()) - {"met"} == {"open"}  # "imperceptibly" is about visibility alone


def test_the_abstracts_claims_count_once_each_and_controls_do_not():
    rows = claims.ledger(measurements(natural={"loss": 3.0, "correct": 0.4}, lat={"loss": 0.5}), eps=8 / 255)
    assert {row["against"] for row in rows} == {None, *TRAININGS} - {"LAT"}
    abstract = [row["key"] for row in rows if row["kind"] == "abstract"]
    assert sorted(abstract) == sorted(claims.ABSTRACT) and len(abstract) == 5
    assert {row["kind"] for row in rows if row["against"] not in (None, "natural")} == {"control"}
    assert claims.counts(rows) == {"as the abstract claims": 3, "against the abstract": 0, "open": 2}


def test_a_worse_lat_is_against_the_claims():
    rows = claims.ledger(
        measurements(lat={"natural_loss": 2.0, "loss": 2.0, "natural_correct": 0.5, "correct": 0.2}), eps=8 / 255
    )
    said = {row["key"]: claims.agrees(row) for row in rows}
    assert said.pop("sensitivity") == "open" and said.pop("imperceptible") == "as the abstract claims"
    assert set(said.values()) == {"against the abstract"}


def test_the_interval_of_a_loss_is_a_bootstrap():
    measured = measurements()
    few = np.where(np.arange(N) < 5, 4.0 + np.arange(N), 0.0)
    measured["natural"]["background"] = measured["natural"]["background"]._replace(natural_loss=1.0 + few)
    measured["LAT"]["background"] = measured["LAT"]["background"]._replace(natural_loss=np.ones(N))
    (row,) = [row for row in claims.ledger(measured, eps=0.1) if row["key"] == "natural_loss"]
    assert (row["difference"], row["low"], row["high"]) == intervals.bootstrap_difference(1.0 + few, np.ones(N))
    assert row["difference"] - row["low"] > 1.3 * (row["high"] - row["difference"])


@pytest.mark.parametrize(
    ("eps", "ssim", "verdict"),
    [(8 / 255, 0.99, "met"), (0.1, 0.99, "not met"), (8 / 255, 0.9, "not met")],
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
    ledger = {row["key"]: row["difference"] for row in claims.ledger(measured, eps=0.1)}
    del ledger["imperceptible"]  # the rows have no eps
    found = {row["key"]: row for row in claims.differences(rows)}
    ledger["unnecessary"] = ledger["background_accuracy"]
    assert {key: row["difference"] for key, row in found.items()} == pytest.approx(ledger)
    assert found["unnecessary"]["natural"] == pytest.approx(ledger["natural_accuracy"] + claims.MARGIN)
    assert not any(row["diverged"] for row in found.values())
    assert claims.differences([row for row in rows if row["model"] not in ("natural", "LAT")]) == []


def test_a_loss_that_is_not_finite_decides_nothing():
    measured = measurements(lat={"loss": np.nan, "natural_loss": np.inf})
    found = {row["key"]: row["verdict"] for row in claims.ledger(measured, eps=0.1) if "loss" in row["key"]}
    assert set(found.values()) == {"open"}
    rows = [{"model": model, "condition": "full"} | summarize(measured[model]["full"]) for model in measured]
    (row,) = claims.differences(rows)
    assert row["key"] == "full_loss" and row["difference"] is None and row["diverged"]
    assert claims.diverged(rows) == {"LAT"}


def test_a_model_that_gets_nothing_right_decides_nothing():
    rows = claims.ledger(measurements(natural={"natural_correct": 0.0, "correct": 0.0}), eps=0.1)
    assert rows[0]["verdict"] == "open" and rows[0]["n"] == 0


def test_the_table_shows_each_claim_whole():
    rows = claims.ledger(measurements(natural={"loss": 2.0}), eps=0.1)
    html = claims_table(rows).html()
    for row in rows:
        assert row["claim"] in html and row["measured"].replace("&", "&amp;") in html
    assert "lower, as claimed" in html and "open" in html and "supported" not in html and "✔" not in html
