"""Evaluation: numbers that were worked out by hand, intervals with known values, and controls that must not fool.

The `brightness` classifier below calls an image bright or dark by its mean. What any attack does to it, and which
images it turns, can be written down; the trained digit models test the same on something real.
"""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf.engine.stream import attack_stream
from locadv_tf.evaluation import intervals, measurement, reliance

EPS, SIDE = 0.1, 6
DARK, BRIGHT = 0, 1
FGSM = la.FGSM(eps=EPS)
PGD = la.PGD(eps=EPS, steps=4)


def brightness(sharpness=40.0):
    """Logits (0, sharpness · (mean − 0.5)): bright above a mean of 0.5."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    kernel = np.zeros((SIDE * SIDE, 2), "float32")
    kernel[:, BRIGHT] = sharpness / SIDE**2
    model.set_weights([kernel, np.array([0, -sharpness / 2], "float32")])
    return model


def flat(greys):
    """Flat images whose background is the upper half."""
    image = np.ones((len(greys), SIDE, SIDE, 1), "float32") * np.float32(greys)[:, None, None, None]
    mask = np.zeros_like(image)
    mask[:, : SIDE // 2] = 1
    return image, mask


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.fixture(scope="module")
def digits(digits_test):
    return la.to_arrays(digits_test.take(100))


@pytest.fixture(scope="module")
def digit_rows(natural_model, digits):
    attacks = {"FGSM": FGSM, "PGD": PGD, "noise": la.RandomNoise(eps=EPS), "nothing": la.PGD(eps=0.0, steps=4)}
    return la.evaluate(natural_model, digits, attacks)


def row_of(rows, attack, region):
    (row,) = (row for row in rows if (row["attack"], row["region"]) == (attack, region))
    return row


# Numbers worked out by hand.


def test_a_case_worked_out_by_hand():
    # All are called dark. Full region: the mean rises by 0.1; background: by 0.05.
    greys = [0.2, 0.3, 0.42, 0.46, 0.47, 0.6]  # 0.6 is wrong already
    image, mask = flat(greys)
    natural, background, full = la.evaluate(
        brightness(), (image, [DARK] * 6, mask), {"FGSM": FGSM}, regions=("background", "full")
    )
    assert (natural["attack"], natural["region"], natural["eps"], natural["n"]) == ("natural", "none", 0.0, 6)
    assert natural["accuracy"] == 5 / 6
    assert (background["accuracy"], background["asr"]) == (3 / 6, 2 / 5)
    assert (full["accuracy"], full["asr"]) == (2 / 6, 3 / 5)
    assert (full["asr_low"], full["asr_high"]) == pytest.approx((0.2307, 0.8824), abs=1e-4)  # Wilson, 3 of 5

    for row, rise in ((natural, 0), (background, 0.05), (full, 0.1)):
        losses = softplus(40 * (np.array(greys) + rise - 0.5))
        assert row["loss"] == pytest.approx(losses.mean(), rel=1e-4)
        half_width = 2.5706 * losses.std(ddof=1) / np.sqrt(6)  # the t quantile for 5 degrees of freedom
        assert row["loss_high"] - row["loss"] == pytest.approx(half_width, rel=1e-3)
        assert row["loss"] - row["loss_low"] == pytest.approx(half_width, rel=1e-3)


@pytest.mark.parametrize(
    ("region", "grey", "mean_change", "mse", "clipped"),
    [
        ("full", 0.02, 0.1, 0.1**2, 0),
        ("background", 0.4, 0.1, 0.1**2 / 2, 0),  # the mean is over the region's pixels, PSNR over the image
        ("background", 0.97, 0.03, 0.03**2 / 2, 1),  # white is the limit
    ],
)
def test_visibility_worked_out_by_hand(region, grey, mean_change, mse, clipped):
    image, mask = flat([grey] * 3)
    measured = measurement.measure(brightness(), (image, [DARK] * 3, mask), FGSM, region=region)
    np.testing.assert_allclose(measured.mean_change, mean_change, rtol=1e-4)
    np.testing.assert_allclose(measured.largest_change, mean_change, rtol=1e-4)
    np.testing.assert_allclose(measured.psnr, -10 * np.log10(mse), rtol=1e-4)
    np.testing.assert_array_equal(measured.clipped, clipped)
    np.testing.assert_array_equal(measured.evaluations, 1)
    if region == "full":  # two flat images: only SSIM's comparison of luminance is left (Wang et al. 2004, eq. 6)
        a, b, c1 = grey, grey + EPS, 0.01**2
        np.testing.assert_allclose(measured.ssim, (2 * a * b + c1) / (a * a + b * b + c1), rtol=1e-4)
    else:
        assert (measured.ssim < 1).all()


@pytest.mark.parametrize("stop", ["worst", "fooled"])
def test_measurements_are_in_the_order_of_the_input(stop):
    # Images leave the attack as they are fooled: the wrong and the nearly wrong ones before the others.
    greys = [0.3, 0.6, 0.45, 0.2, 0.49, 0.7, 0.38]
    image, mask = flat(greys)
    measured = measurement.measure(brightness(), (image, [DARK] * 7, mask), PGD, region="full", stop=stop, batch_size=2)
    np.testing.assert_allclose(measured.natural_loss, softplus(40 * (np.array(greys) - 0.5)), rtol=1e-3, atol=1e-6)
    assert measured.correct.tolist() == [True, False, False, True, False, False, True]


def test_nothing_right_leaves_no_success_rate():
    image, mask = flat([0.7, 0.8])
    _, row = la.evaluate(brightness(), (image, [DARK] * 2, mask), {"FGSM": FGSM}, regions=("full",))
    assert (row["accuracy"], row["asr"], row["asr_low"], row["asr_high"]) == (0, None, None, None)


def test_an_empty_region_changes_nothing():
    image, mask = flat([0.3, 0.4])
    measured = measurement.measure(brightness(), (image, [DARK] * 2, np.zeros_like(mask)), FGSM)
    assert (measured.mean_change == 0).all() and np.isinf(measured.psnr).all() and (measured.ssim == 1).all()


@pytest.mark.parametrize("attack", [FGSM, PGD], ids=str)
@pytest.mark.parametrize("region", ["background", "foreground", "full"])
def test_rows_equal_plain_attack_calls(attack, region, natural_model, digits, digit_rows):
    image, label, mask = digits
    attacked = attack(natural_model, image, label, mask=la.region_mask(mask, region), seed=0).numpy()
    logits = {name: natural_model(x).numpy() for name, x in {"natural": image, "attacked": attacked}.items()}
    right = {name: value.argmax(axis=-1) == label for name, value in logits.items()}
    loss = {
        name: keras.losses.sparse_categorical_crossentropy(label, value, from_logits=True).numpy()
        for name, value in logits.items()
    }
    # An image that is wrong already counts as wrong, with the worse of its two losses among those that fool.
    kept = ~right["natural"] & (right["attacked"] | (loss["natural"] > loss["attacked"]))
    change = np.abs(np.where(kept[:, None, None, None], image, attacked) - image)

    row = row_of(digit_rows, {FGSM: "FGSM", PGD: "PGD"}[attack], region)
    still_right = right["natural"] & right["attacked"]
    # float32 sums come out differently in another batch, which now and then flips a gradient's sign
    assert row["accuracy"] == pytest.approx(still_right.mean(), abs=0.011)
    assert row["asr"] == pytest.approx(1 - still_right.sum() / right["natural"].sum(), abs=0.012)
    assert row["loss"] == pytest.approx(np.where(kept, loss["natural"], loss["attacked"]).mean(), rel=1e-2)
    area = la.region_mask(mask, region).numpy().sum(axis=(1, 2, 3))
    assert row["mean_change"] == pytest.approx((change.sum(axis=(1, 2, 3)) / area).mean(), rel=1e-2)
    assert row["largest_change"] == pytest.approx(change.max(), rel=1e-5) and row["largest_change"] <= EPS + 1e-6
    mse = (change**2).mean(axis=(1, 2, 3))
    assert row["psnr"] == pytest.approx((-10 * np.log10(mse[mse > 0])).mean(), rel=1e-3)
    natural = row_of(digit_rows, "natural", "none")
    assert natural["accuracy"] == right["natural"].mean()
    assert natural["loss"] == pytest.approx(loss["natural"].mean(), rel=1e-4)


# The rows.


def test_rows_are_the_natural_one_and_one_per_attack_and_region(digit_rows):
    regions = ["background", "foreground", "full"]
    names = [(attack, region) for attack in ("FGSM", "PGD", "noise", "nothing") for region in regions]
    assert [(row["attack"], row["region"]) for row in digit_rows] == [("natural", "none"), *names]
    assert [row["eps"] for row in digit_rows] == [0.0] + [EPS] * 9 + [0.0] * 3
    assert {row["n"] for row in digit_rows} == {100}
    assert row_of(digit_rows, "PGD", "full")["gradient_evaluations"] == 100 * PGD.steps
    for row in digit_rows:
        assert all(value is None or isinstance(value, int | float | str) for value in row.values())
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["loss_low"] <= row["loss"] <= row["loss_high"]


def test_a_row_as_text(digit_rows):
    natural, row = digit_rows[0], row_of(digit_rows, "PGD", "background")
    text = measurement.format_row(row)
    assert text.startswith("PGD · background · eps 25.5/255: accuracy ") and f"{100 * row['accuracy']:.1f} % [" in text
    assert ", n = 100, loss " in text
    assert measurement.format_row(natural).startswith("natural: accuracy ")
    assert "loss" not in measurement.format_row(row | {"loss": None})


def test_data_sets_arrays_and_batch_sizes_agree(natural_model, digits_test):
    data = digits_test.take(40)
    options = {"attacks": {"PGD": PGD}, "regions": ("background",)}
    (_, whole), *others = (
        la.evaluate(natural_model, given_as, **options, batch_size=size)
        for given_as, size in ((data, 128), (data.batch(16), 128), (la.to_arrays(data), 7))
    )
    for _, row in others:
        assert row["accuracy"] == whole["accuracy"] and row["loss"] == pytest.approx(whole["loss"], rel=1e-2)


def test_the_seed_decides_the_numbers(natural_model, digits):
    losses = [measurement.measure(natural_model, digits, la.RandomNoise(eps=EPS), seed=seed).loss for seed in (0, 0, 1)]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert (losses[0] != losses[2]).any()


# Controls.


def test_eps_zero_is_the_natural_image(digit_rows):
    natural = digit_rows[0]
    for region in ("background", "foreground", "full"):
        row = row_of(digit_rows, "nothing", region)
        for name in ("accuracy", "accuracy_low", "accuracy_high", "loss", "loss_low", "loss_high"):
            assert row[name] == natural[name]
        assert (row["asr"], row["largest_change"], row["psnr"]) == (0, 0, None)
        assert row["gradient_evaluations"] == 0 and row["ssim"] == pytest.approx(1)


def test_noise_of_equal_size_is_no_attack(digit_rows):
    natural = digit_rows[0]
    for region in ("background", "foreground", "full"):
        noise, attack = row_of(digit_rows, "noise", region), row_of(digit_rows, "PGD", region)
        assert natural["accuracy"] - noise["accuracy"] < 0.1 < natural["accuracy"] - attack["accuracy"]
        assert noise["largest_change"] == pytest.approx(EPS) and noise["gradient_evaluations"] == 0


def test_a_larger_budget_leaves_less_accuracy(natural_model, digits):
    budgets = [0.0, 0.02, 0.05, 0.1, 0.3]
    attacks = {eps: la.PGD(eps=eps, steps=4) for eps in budgets}
    rows = la.evaluate(natural_model, digits, attacks, regions=("full",), stop="fooled")[1:]
    accuracies = [row["accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True) and accuracies[0] > 0.9 and accuracies[-1] < 0.1


def test_localized_adversarial_training_helps(natural_model, lat_model, digits):
    natural, lat = (measurement.measure(model, digits, PGD) for model in (natural_model, lat_model))
    gain, low, _ = intervals.paired_difference(natural.correct, lat.correct)
    assert gain > 0.15 and low > 0.05
    assert intervals.paired_difference(natural.loss, lat.loss)[2] < 0


# The two ways to stop.


def test_worst_is_worse_than_fooled(natural_model, digits):
    worst, fooled = (la.run_attack(natural_model, digits, PGD, stop=stop) for stop in ("worst", "fooled"))
    assert (worst.loss >= fooled.loss - 1e-2).all() and worst.loss.mean() > 1.05 * fooled.loss.mean()
    assert (worst.loss >= worst.natural_loss - 1e-2).mean() > 0.98
    assert worst.gradient_evaluations == 4 * 100 > fooled.gradient_evaluations
    np.testing.assert_array_equal(worst.fooled, fooled.fooled)


def test_a_loss_is_reported_from_the_worst_points_only(natural_model, digits, digit_rows):
    _, row = la.evaluate(natural_model, digits, {"PGD": PGD}, regions=("full",), stop="fooled")
    assert (row["loss"], row["loss_low"], row["loss_high"]) == (None, None, None)
    assert row["accuracy"] == row_of(digit_rows, "PGD", "full")["accuracy"]
    assert np.isnan(measurement.measure(natural_model, digits, PGD, stop="fooled").loss).all()


@pytest.mark.parametrize("stop", ["worst", "fooled"])
@pytest.mark.parametrize("region", ["background", "foreground", "full"])
def test_the_rest_of_the_image_stays_bit_for_bit(region, stop, natural_model, digits):
    finished = list(attack_stream(natural_model, digits, PGD, region=region, stop=stop))
    jobs = {name: np.concatenate([part[name] for part in finished]) for name in finished[0]}
    assert sorted(jobs["index"]) == list(range(100))
    order = np.argsort(jobs["index"])
    image, _, background = digits
    np.testing.assert_array_equal(jobs["image"][order], image)
    allowed = {"background": background == 1, "foreground": background == 0, "full": background >= 0}[region]
    change = jobs["best_image"][order] - image
    assert (change[~allowed] == 0).all() and (change[allowed] != 0).any()


# Intervals.


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_of_newcombe_1998_table_1(hits, n, low, high):
    assert intervals.share_interval(hits, n) == pytest.approx((hits / n, low, high), abs=5e-5)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.sampled_from([0, 1, n // 2, n - 1, n]), st.just(n))))
def test_a_share_lies_in_its_interval(case):
    share, low, high = intervals.share_interval(*case)
    assert 0 <= low <= share <= high <= 1 and low < high


def test_no_share_of_nothing():
    assert intervals.share_interval(0, 0) == (None, None, None)


def test_mean_intervals():
    known = (2.5, 2.5 - 3.18245 * 0.645497, 2.5 + 3.18245 * 0.645497)  # t for 3 degrees of freedom, standard error
    assert intervals.mean_interval([1, 2, 3, 4]) == pytest.approx(known, abs=1e-4)
    assert intervals.mean_interval(np.float32([7])) == (7, None, None)


@pytest.mark.parametrize(
    "values",
    [
        np.full(5, 0.25),
        [0.0025, 0.0025],
        [0.905 - 0.9025, 0.9 - 0.8975, 0.0025],  # equal but for rounding
        np.float32([0.1, 0.1, np.nextafter(np.float32(0.1), 1)]),
        [0.0, 0.0],
    ],
)
def test_equal_values_have_no_interval(values):
    mean, low, high = intervals.mean_interval(values)
    assert mean == pytest.approx(np.mean(values)) and low is high is None
    assert intervals.paired_difference(np.zeros(len(values)), np.asarray(values, float))[1:] == (None, None)


def test_values_that_differ_a_little_have_an_interval():
    _, low, high = intervals.mean_interval([1.0, 1.00001, 1.00002])
    assert low < 1.00001 < high


def test_a_bootstrap_follows_a_skewed_mean_and_repeats():
    few = np.zeros(200)
    few[:6] = 1, 2, 3, 4, 5, 6
    mean, low, high = intervals.bootstrap_difference(np.ones(200), 1 + few)
    assert mean == pytest.approx(few.mean()) and 0 < low < mean < high
    assert high - mean > 1.3 * (mean - low)  # Student's interval is symmetric
    assert intervals.bootstrap_difference(np.ones(200), 1 + few) == (mean, low, high)
    normal = np.random.default_rng(0).normal(1, 1, 1000)
    assert intervals.bootstrap_difference(np.zeros(1000), normal) == pytest.approx(
        intervals.mean_interval(normal), abs=0.01
    )


@pytest.mark.parametrize("second", [[1.0], [1.0, np.nan], [1.0, 1.0], [np.inf, 1.0]])
def test_a_bootstrap_of_nothing_has_no_interval(second):
    assert intervals.bootstrap_difference(np.zeros(len(second)), second)[1:] == (None, None)
    with pytest.raises(ValueError, match=r"3 and 2 values.*same images"):
        intervals.bootstrap_difference(np.zeros(3), np.zeros(2))


def test_what_the_largest_carry():
    assert intervals.largest_share([0, 0]) is None and intervals.largest_share([-3, 1], count=1) == 0.75


def test_paired_difference():
    difference = intervals.paired_difference(np.float32([1, 1, 1, 1]), np.float32([2, 3, 4, 5]))
    assert difference == pytest.approx(intervals.mean_interval([1, 2, 3, 4]))
    # 30 of 100 verdicts turn from wrong to right: standard error sqrt(0.3 · 0.7 / 100)
    value, low, high = intervals.paired_difference(np.arange(100) < 50, np.arange(100) < 80)
    assert value == pytest.approx(0.3) and (low, high) == pytest.approx((0.21, 0.39), abs=0.015)
    value, low, high = intervals.paired_difference(np.zeros(2, bool), np.ones(2, bool))
    assert value == high == 1 and low < 0  # two images that agree decide nothing
    with pytest.raises(ValueError, match=r"3 and 2 values.*same images"):
        intervals.paired_difference(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="got 2 and 1 verdicts"):
        intervals.paired_interval([1, 0], [1])


@given(table=st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any))
def test_the_paired_interval_holds_the_value_and_is_never_a_point(table):
    first, second = (np.repeat(column, table) for column in ([1, 1, 0, 0], [1, 0, 1, 0]))
    value, low, high = intervals.paired_interval(first, second)
    assert value == pytest.approx(first.mean() - second.mean()) and -1 <= low <= value <= high <= 1
    assert high - low > 0.01


@pytest.mark.parametrize("cells", [(0.9, 0.05, 0.03, 0.02), (0.5, 0.3, 0.1, 0.1), (0.97, 0.02, 0.005, 0.005)])
@pytest.mark.parametrize("statistic", [np.subtract, reliance.rfs])
def test_the_paired_interval_covers_the_truth(cells, statistic):
    both, only_first, only_second, _ = cells
    truth = statistic(both + only_first, both + only_second)
    covered = []
    for counts in np.random.default_rng(1).multinomial(200, cells, size=200):
        first, second = (np.repeat(column, counts) for column in ([1, 1, 0, 0], [1, 0, 1, 0]))
        _, low, high = intervals.paired_interval(first, second, statistic)
        covered.append(low is None or low <= truth <= high)
    assert np.mean(covered) > 0.91  # 0.95, less two standard errors of 200 draws and a little


# Bad input.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attacks": FGSM}, "expected a dictionary"),
        ({"attacks": {"first": FGSM, "second": "PGD"}}, r"attacks\['second'\]='PGD'; expected an attack object"),
        ({"regions": ("background", "sky")}, "region='sky'.*'full'"),
        ({"stop": "early"}, "stop='early'.*'fooled', 'worst'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"data": (flat([])[0], [], flat([])[1])}, "no images"),
        ({"data": (flat([0.5])[0], [0])}, "needs masks"),
        ({"data": (flat([0.5])[0], [2], flat([0.5])[1])}, "out of range for the model's 2 classes"),
        ({"data": (255 * flat([0.5])[0], [0], flat([0.5])[1])}, "Divide by 255"),
    ],
)
def test_bad_input(change, message):
    image, mask = flat([0.4])
    arguments = {"model": brightness(), "data": (image, [DARK], mask), "attacks": {"FGSM": FGSM}} | change
    with pytest.raises(ValueError, match=message):
        la.evaluate(**arguments)


def test_regions_are_named(natural_model, digits_test):
    with pytest.raises(ValueError, match="regions is empty"):
        la.evaluate(natural_model, digits_test, {"fgsm": la.FGSM(eps=0.1)}, regions=())
