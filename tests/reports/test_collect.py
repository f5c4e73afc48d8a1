"""One table of many reports: means and intervals over seeds, trainings paired by seed."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from locadv_tf.reports import claims, metrics, over_seeds, schema
from locadv_tf.reports.collect import RELIANCE, collect

ACCURACY = {"natural": 0.5, "LAT": 0.9}
NOTHING = {name: {"array": [], "object": {}, "number": 0.1}[part["type"]] for name, part in schema.RESULTS.items()}


def write_report(folder, *, seed, trainings=("natural", "LAT"), eps=0.1, diverged=(), **parameters):
    """What a report leaves for the table; LAT's natural loss is lower by 0.1 and a seed's hundredth."""
    rows = []
    for model in trainings:
        natural = {"model": model, "condition": "natural", "attack": "natural", "region": "none", "eps": 0.0, "n": 9}
        attacked = {"model": model, "condition": "full", "attack": "PGD-5", "region": "full", "eps": eps, "n": 9}
        loss = float("nan") if model in diverged else 1.0 - (0.1 + seed / 100) * (model == "LAT")
        rows.append(natural | {"accuracy": 0.95, "loss": loss})
        asr = None if seed == 1 else 0.25
        rows.append(attacked | {"accuracy": ACCURACY[model] + seed / 100, "loss": 1.0, "asr": asr})
    asked = {"dataset": "digits", "train_limit": None, "epochs": 1, "seed": seed, "eps": None, "share": 0.5}
    asked |= {"eps_multiples": [0.5, 1.0], "trainings": list(trainings)} | parameters
    checked = {"LAT": [{"check": "weights untouched", "outcome": "fail" if seed == 2 else "pass", "reason": ""}]}
    results = NOTHING | {"eps": eps, "rows": rows, "verdicts": checked}
    if seed != 1:  # one report without measures of reliance
        measures = dict.fromkeys(RELIANCE, seed / 10) | {"rfs": None}
        results["reliance"] = [
            {"model": model, "source": source} | measures for model in trainings for source in ("own", "random")
        ]
    return metrics.write_metrics(folder, parameters=asked, results=results, kind="report")


def test_the_table_has_means_and_intervals_over_seeds(tmp_path):
    for seed in (0, 1, 2):
        write_report(tmp_path / str(seed), seed=seed)
    metrics.write_metrics(tmp_path / "lesson", parameters={}, results={"rows": []})
    write_report(tmp_path / ".3.abc", seed=3)  # a sweep's unfinished work
    results, verdicts = collect(tmp_path)
    (row,) = results[(results.model == "LAT") & (results.region == "full")].to_dict("records")
    low, high = stats.t.interval(0.95, 2, loc=0.91, scale=0.01 / np.sqrt(3))
    assert row["seeds"] == 3
    np.testing.assert_allclose([row["accuracy"], row["accuracy_low"], row["accuracy_high"]], [0.91, low, high])
    assert row["asr"] == 0.25 and row["loss"] == 1.0 and row["loss_low"] is row["loss_high"] is None
    claim = verdicts[verdicts.claim.str.contains("lower loss on natural images")].to_dict("records")[0]
    assert claim["verdict"] == "supported" and claim["difference"] == pytest.approx(-0.11)
    assert pd.read_csv(tmp_path / "collected.csv").shape == results.shape
    page = (tmp_path / "collected.html").read_text()
    assert page.count("weights untouched") == 1 and "digits, 25.5/255, seed 2, LAT: weights untouched" in page
    assert "25.5/255" in page and "supported" in page and "NaN" not in page
    assert pd.read_csv(tmp_path / "claims.csv").shape == verdicts.shape
    measures = pd.read_csv(tmp_path / "reliance.csv")
    measures = measures[measures.model == "LAT"].reset_index()
    assert list(measures.source) == ["own", "random"] and list(measures.seeds) == [2, 2]
    low, high = stats.t.interval(0.95, 1, loc=0.1, scale=0.1)  # seeds 0 and 2: 0 and 0.2
    np.testing.assert_allclose(
        measures.loc[0, ["energy_ratio", "energy_ratio_low", "energy_ratio_high"]].astype(float), [0.1, low, high]
    )
    assert measures.rfs.isna().all() and "Reliance on the background" in page


def test_a_report_for_each_training_makes_the_same_tables_as_one_for_all(tmp_path):
    for seed in (0, 1, 2):
        write_report(tmp_path / "together" / str(seed), seed=seed)
        for training in ("natural", "LAT"):
            write_report(tmp_path / "apart" / f"{training}-{seed}", seed=seed, trainings=[training])
    for together, apart in zip(collect(tmp_path / "together"), collect(tmp_path / "apart"), strict=True):
        key = [name for name in ("claim", "model", "region") if name in together]
        both = (table.sort_values(key, ignore_index=True) for table in (together, apart))
        pd.testing.assert_frame_equal(*both)


def test_pairs_are_of_the_same_seed_and_each_training_counts_once(tmp_path):
    for seed in (0, 1, 2):
        write_report(tmp_path / f"{seed}", seed=seed, trainings=["natural"] if seed == 0 else ["natural", "LAT"])
        write_report(tmp_path / f"again-{seed}", seed=seed, trainings=["natural"])
    results, verdicts = collect(tmp_path)
    assert dict(zip(results.model, results.seeds, strict=True)) == {"natural": 3, "LAT": 2}
    assert set(verdicts.seeds) == {2}
    natural_loss = verdicts[verdicts.claim.str.contains("natural images than ordinary")]
    np.testing.assert_allclose(natural_loss.difference.astype(float), [-0.115])


def test_reports_that_differ_in_anything_else_are_not_averaged(tmp_path):
    for share in (0.25, 0.5):
        for eps in (0.1, 0.2):
            write_report(tmp_path / f"{share}-{eps}", seed=0, share=share, eps=eps)
    results, verdicts = collect(tmp_path)
    assert set(results.seeds) == set(verdicts.seeds) == {1}
    # A row of natural images belongs to its training's eps, too.
    assert len(results) == 4 * 4 and set(zip(results.share, results.eps, strict=True)) == {
        (share, eps) for share in (0.25, 0.5) for eps in (0.1, 0.2)
    }
    assert "eps_multiples" not in results and "share" in verdicts


def test_lists_tell_reports_apart_too(tmp_path):
    write_report(tmp_path / "a", seed=0)
    write_report(tmp_path / "b", seed=0, eps_multiples=[2.0])
    assert set(collect(tmp_path)[0].eps_multiples) == {"[0.5, 1.0]", "[2.0]"}


def test_without_lat_there_is_nothing_to_compare(tmp_path):
    write_report(tmp_path / "a", seed=0, trainings=["natural"])
    results, verdicts = collect(tmp_path)
    assert set(results.model) == {"natural"} and verdicts.empty and "verdict" in verdicts


def test_one_seed_decides_nothing(tmp_path):
    write_report(tmp_path / "a", seed=0)
    _, verdicts = collect(tmp_path)
    assert set(verdicts.verdict) == {"undecided"} and set(verdicts.difference_low) == {None}


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"no finished report below .* run locadv sweep"):
        collect(tmp_path)


def test_a_report_of_another_version_is_refused_by_name(tmp_path):
    for seed in (0, 1):
        path = write_report(tmp_path / str(seed), seed=seed)
    content = json.loads(path.read_text())
    del content["schema"], content["version"]  # as the kit wrote them before they had a version
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"1.metrics\.json is a report of version 1; .* Run the report again"):
        collect(tmp_path)
    assert not (tmp_path / "collected.csv").exists()
    path.parent.rename(tmp_path / ".1.aside")  # a sweep's unfinished work is nobody's business
    assert set(collect(tmp_path)[0].seeds) == {1}


def test_every_claim_with_a_difference_has_a_side():
    keys = [comparison.key for comparison in claims.COMPARISONS]
    assert len(keys) == len(set(keys))
    assert {comparison.expected for comparison in claims.COMPARISONS} == {"higher", "lower"}


def test_two_seeds_decide_nothing_and_equal_differences_neither(tmp_path):
    for seed in (0, 2):
        write_report(tmp_path / "two" / str(seed), seed=seed)
    _, verdicts = collect(tmp_path / "two")
    assert set(verdicts.verdict) == {"undecided"}
    for seed in range(5):  # full_loss differs by exactly 0 there, accuracies by 0.4, in all seeds
        write_report(tmp_path / "five" / str(seed), seed=seed)
    _, verdicts = collect(tmp_path / "five")
    found = dict(zip(verdicts.key, verdicts.verdict, strict=True))
    assert found == {"natural_loss": "supported", "full_loss": "undecided", "natural_accuracy": "undecided"}


@pytest.mark.parametrize(
    ("seeds", "told"), [(3, "1 supported so far (3 seeds; five are needed)."), (5, "1 supported.")]
)
def test_a_headline_counts_from_five_seeds_on(seeds, told, tmp_path):
    for seed in range(seeds):
        write_report(tmp_path / str(seed), seed=seed)
    collect(tmp_path)
    page = (tmp_path / "collected.html").read_text()
    assert f"digits, epochs 1, 25.5/255. Of the abstract&#x27;s claims: {told}" in page


def test_a_diverged_training_is_counted_shown_and_decides_nothing(tmp_path):
    for seed in range(5):
        write_report(tmp_path / str(seed), seed=seed, diverged=["LAT"] if seed == 3 else [])
    results, verdicts = collect(tmp_path)
    (row,) = results[(results.model == "LAT") & (results.region == "none")].to_dict("records")
    assert (row["seeds"], row["diverged"], row["loss_seeds"], row["accuracy_seeds"]) == (5, 1, 4, 5)
    assert set(results[results.model == "natural"].diverged) == {0}
    (claim,) = verdicts[verdicts.key == "natural_loss"].to_dict("records")
    assert (claim["seeds"], claim["diverged"], claim["verdict"], claim["p"]) == (4, 1, "undecided", None)
    page = (tmp_path / "collected.html").read_text()
    assert "Trainings that diverged (a loss is NaN or infinite): 1. digits" in page
    assert "seed 3, LAT" in page and "(4 of the seeds)" in page


def judged(*claim, seeds=5, diverged=(), **natural):
    """The verdicts on rows of `claims.differences`: `(key, kind, expected, centre)` each, spread by 0.001 a seed."""
    rows = [
        {"key": key, "claim": key, "kind": kind, "expected": expected, "difference": centre + seed / 1000, "seed": seed}
        | {"diverged": seed in diverged, "where": "digits"}
        | ({"natural": natural["natural"] + seed / 1000} if key == "unnecessary" else {})
        for key, kind, expected, centre in claim
        for seed in range(seeds)
    ]
    return {row["key"]: row for row in over_seeds.judge(rows, ["where"]).to_dict("records")}


def test_p_values_of_the_abstracts_claims_are_adjusted_by_holm():
    found = judged(
        ("natural_loss", "abstract", "lower", -0.0042),
        ("background_loss", "abstract", "lower", -0.0040),
        ("sensitivity", "abstract", "higher", 0.1),
        ("full_loss", "further", "lower", -0.0042),
    )
    steps = np.arange(5) / 1000
    ps = [stats.ttest_1samp(start + steps, 0).pvalue for start in (-0.0042, -0.0040, 0.1)]
    assert [found[key]["p"] for key in ("natural_loss", "background_loss", "sensitivity")] == pytest.approx(ps)
    holm = [2 * ps[0], max(2 * ps[0], ps[1]), 3 * ps[2]]
    assert [found[key]["p_holm"] for key in ("natural_loss", "background_loss", "sensitivity")] == pytest.approx(holm)
    assert ps[0] < 0.05 < holm[0]  # the interval alone would decide
    assert found["natural_loss"]["verdict"] == "undecided" and found["sensitivity"]["verdict"] == "supported"
    assert found["full_loss"]["verdict"] == "supported" and found["full_loss"]["p_holm"] is None


@pytest.mark.parametrize(
    ("gain", "natural", "verdict"),
    [(0.2, 0.01, "supported"), (0.2, -0.001, "undecided"), (0.2, -0.1, "not supported"), (-0.2, 0.1, "not supported")],
)
def test_unnecessary_needs_both_of_its_parts(gain, natural, verdict):
    found = judged(("unnecessary", "abstract", "met", gain), natural=natural)["unnecessary"]
    assert found["verdict"] == verdict and found["difference"] is None and found["seeds"] == 5


def test_with_a_diverged_pair_a_claim_may_still_fail():
    worse = ("natural_loss", "abstract", "lower", 0.3)
    assert judged(worse, diverged=[4])["natural_loss"]["verdict"] == "not supported"


def test_imperceptibly_is_a_convention_that_all_seeds_meet_or_none():
    def rows(*met):
        row = {"key": "imperceptible", "claim": "", "kind": "abstract", "expected": "met", "where": 0}
        return [
            row | {"diverged": False} | {"difference": float(value), "seed": seed} for seed, value in enumerate(met)
        ]

    found = [over_seeds.judge(rows(*met), ["where"]).verdict[0] for met in ((1, 1, 1), (0, 0, 0), (1, 0, 1), (1, 1))]
    assert found == ["supported", "not supported", "undecided", "undecided"]


def test_the_strongest_attack_has_its_row_and_no_claim(tmp_path):
    for seed in (0, 1):
        path = write_report(tmp_path / str(seed), seed=seed, diverged=("LAT",) if seed else ())
        content = json.loads(path.read_text())
        if seed == 0:
            before = content["results"].pop("headline")  # a report of the days before it had one is read, too
            path.write_text(json.dumps(content))
            collect(tmp_path)
        about = {"region": "background", "eps": 0.1, "n": 4, "natural_accuracy": 0.95, "asr": 0.5}
        rows = [about | {"model": model, "attack": attack, "accuracy": 0.5 + seed / 4}
                for model in ("natural", "LAT") for attack in ("LocalizedAutoAttack (fast)", "PGD-5")]  # fmt: skip
        content["results"]["headline"] = rows
        path.write_text(json.dumps(content))
    assert before == []
    results, verdicts = collect(tmp_path)
    found = results[results.attack == "LocalizedAutoAttack (fast)"].to_dict("records")
    assert [(row["model"], row["seeds"], row["accuracy"], row["diverged"]) for row in found] == [
        ("natural", 2, 0.625, 0), ("LAT", 2, 0.625, 1),
    ]  # fmt: skip
    assert found[0]["loss"] is None and not (results.attack == "PGD-5").where(results.region == "background").any()
    assert set(verdicts.key) == {"natural_loss", "full_loss", "natural_accuracy"}
