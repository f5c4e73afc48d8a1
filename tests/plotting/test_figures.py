"""The figures: alternative text that reaches the HTML, labelled axes, budgets as n/255, accuracies in per cent."""

import base64
import html.parser

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from locadv_tf import plotting
from locadv_tf.evaluation import intervals

EVIL = '<b>7 & "8"</b>'  # a name that would break out of an HTML attribute
EPS = 8 / 255
rng = np.random.default_rng(0)
IMAGES = rng.random((3, 8, 8, 1), dtype=np.float32)
MASKS = rng.integers(0, 2, (3, 8, 8, 1)).astype("float32")
ATTACKED = np.clip(IMAGES + EPS * np.sign(rng.normal(size=IMAGES.shape)), 0, 1).astype("float32")


def row(model, region, eps, right, n=100):
    share = intervals.with_interval("accuracy", intervals.share_interval(right, n))
    none = intervals.with_interval("asr", intervals.share_interval(0, 0))
    return {"model": model, "region": region, "eps": eps, **share, **none}


ROWS = [row(EVIL, "background", EPS, 48), row(EVIL, "full", EPS, 18), row("LAT", "background", EPS, 96)]
OVER_EPS = [
    row(model, "full", eps, right) for model, eps, right in [(EVIL, 0.1, 20), (EVIL, 0.0, 98), ("LAT", 0.1, 90)]
]
PANELS = {
    "bg_gap": plotting.Panel("BG-Gap (points)", 100, None, -0.9, 0.9),
    "rfs": plotting.Panel("RFS", 1, 0, -1, 1),
    "mixed_rand": plotting.Panel("Mixed-Rand (%)", 100, None, 0, 1),
}
OVER_CORRELATION = [
    {"training": name, "correlation": c, "bg_gap": gap, "bg_gap_low": gap - 0.1, "bg_gap_high": gap + 0.1,
     "rfs": rfs, "rfs_low": None, "rfs_high": None, "mixed_rand": 0.9, "mixed_rand_low": 0.8, "mixed_rand_high": 1.7}
    for name, c, gap, rfs in [(EVIL, 1.0, 0.5, -0.25), (EVIL, 0.0, 0.0, 0.0), ("LAT", 1.0, 0.3, None)]
]  # fmt: skip
STEPS = [{"x": IMAGES[0] + 0.01 * k, "loss": 0.5 * k, "confidence": 0.9 - 0.1 * k} for k in range(5)]
CASES = [
    {
        "image": IMAGES[k], "x": ATTACKED[k], "label": 1, "region": "full", "attack": f"PGD-5, eps = {EVIL}",
        "before": np.eye(12)[1], "after": np.arange(12) / 66,
    }
    for k in range(2)
]  # fmt: skip
SCHEDULES = {
    EVIL: [
        {"image": 0, "slot": 0, "enters": 0, "stays": 5, "needs": 0, "fooled": True},
        {"image": 1, "slot": 1, "enters": 0, "stays": 5, "needs": 5, "fooled": False},
        {"image": 2, "slot": 0, "enters": 5, "stays": 5, "needs": 2, "fooled": True},
    ],
    "other": [
        {"image": 1, "slot": 0, "enters": 0, "stays": 5, "needs": 5, "fooled": False},
        {"image": 2, "slot": 1, "enters": 0, "stays": 2, "needs": 2, "fooled": True},
    ],
}
PAIRS = {
    f"loss, LAT − {EVIL}": [
        {"against": EVIL, "difference": -0.5, "low": -0.75, "high": -0.25},
        {"against": "AT", "difference": float("nan"), "low": None, "high": None},
    ],
    "other loss": [{"against": "AT", "difference": 0.125, "low": None, "high": None}],
}
HISTORIES = {name: {"val_natural_loss": [2.0, 1.0], "val_adversarial_loss": [3.0, 2.5]} for name in (EVIL, "LAT")}

PICTURES = {
    "image_grid": lambda: plotting.image_grid(
        {EVIL: IMAGES, "two": IMAGES[:2]}, column_titles=["a", "b", "c"], title="t", alt=f"A row of {EVIL}."
    ),
    "mask_sources": lambda: plotting.mask_sources(IMAGES, {EVIL: MASKS, "other": 1 - MASKS}),
    "adversarial_examples": lambda: plotting.adversarial_examples(
        IMAGES,
        ATTACKED,
        eps=EPS,
        labels=[0, 1, 0],
        predicted=[(0, 1), (1, 1), (1, 0)],
        names=[EVIL, "dog"],
        masks=MASKS,
        title="t",
    ),
    "attack_steps": lambda: plotting.attack_steps(STEPS, image=IMAGES[0], eps=EPS, title="t"),
    "attack_cases": lambda: plotting.attack_cases(CASES, names=[EVIL, *"bcdefghijkl"], scale=EPS, title="t"),
    "batch_schedules": lambda: plotting.batch_schedules(SCHEDULES, title="t"),
    "accuracy_bars": lambda: plotting.accuracy_bars(ROWS, title="t"),
    "accuracy_over_eps": lambda: plotting.accuracy_over_eps(OVER_EPS, title="t"),
    "accuracy_over_passes": lambda: plotting.accuracy_over_passes(
        [one | {"passes": passes} for one, passes in zip(ROWS, (1.0, 3.5, 3.5), strict=True)], title="t"
    ),
    "paired_intervals": lambda: plotting.paired_intervals(PAIRS, title="t"),
    "over_correlation": lambda: plotting.over_correlation(OVER_CORRELATION, PANELS, title="t"),
    "paired_differences": lambda: plotting.paired_differences(
        np.r_[np.full(88, 0.01), -8.0, np.full(9, 0.1), np.nan], label=f"loss, {EVIL}", title="t"
    ),
    "training_curves": lambda: plotting.training_curves(HISTORIES, title="t"),
}


@pytest.fixture(params=PICTURES)
def picture(request):
    return PICTURES[request.param]()


# What holds for every figure.


def test_every_figure_has_its_test():
    functions = {name: value for name, value in vars(plotting).items() if callable(value)}
    figures = {name for name, function in functions.items() if "A `Picture`." in (function.__doc__ or "")}
    assert figures == set(PICTURES)


class ImageTag(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_the_alternative_text_reaches_the_html(picture):
    ((tag, attributes),) = ImageTag(picture._repr_html_()).tags  # one tag: the evil name did not get out
    assert tag == "img" and attributes["alt"] == picture.alt and len(picture.alt.split()) >= 4
    assert tf.io.decode_png(base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))).shape[0] > 100
    assert repr(picture) == f"Picture: {picture.alt}"


def test_the_picture_is_a_png_with_something_on_it(picture):
    pixels = tf.io.decode_png(picture.png()).numpy()
    assert min(pixels.shape[:2]) > 100 and pixels.shape[1] < 2000
    assert pixels[..., :3].std() > 5


def unlabelled(figure):
    """The axes that count something without saying what, not even through an axis that shares their scale."""
    found = []
    for axes in (one for one in figure.axes if one.axison):
        for axis, siblings in ((axes.xaxis, axes.get_shared_x_axes()), (axes.yaxis, axes.get_shared_y_axes())):
            counts = not isinstance(axis.get_major_locator(), FixedLocator)  # that one holds names, or nothing
            same = [getattr(other, axis.axis_name + "axis") for other in siblings.get_siblings(axes)]
            if counts and not any(one.get_label_text().strip() for one in same):
                found.append(axis)
    return found


def test_axes_say_what_they_count(picture):
    assert unlabelled(picture.figure) == []


def test_the_check_for_labels_finds_an_axis_without_one():
    figure = Figure()
    figure.subplots().plot([1, 2])
    assert len(unlabelled(figure)) == 2


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adversarial_examples", "∓8/255"),
        ("attack_steps", "±8/255"),
        ("attack_cases", "±8/255"),
        ("attack_cases", "probability"),
        ("batch_schedules", "step of the batch (one gradient per image in it)"),
        ("accuracy_over_eps", "eps (n/255)"),
        ("accuracy_over_eps", "accuracy (%)"),
        ("accuracy_bars", "accuracy (%)"),
        ("attack_steps", "iteration k"),
        ("training_curves", "epoch"),
        ("over_correlation", "BG-Gap (points)"),
        ("over_correlation", "correlation"),
        ("paired_differences", "images (log scale)"),
        ("accuracy_over_passes", "accuracy (%)"),
        ("accuracy_over_passes", "forward and backward passes per image"),
        ("paired_intervals", "other loss"),
    ],
)
def test_units_are_written_down(name, expected):
    assert any(expected in text for text in texts(PICTURES[name]().figure))


# What each figure shows.


def drawn(picture):
    """The pixels of all images in a figure, in reading order."""
    return [np.asarray(axes.images[0].get_array()) for axes in picture.figure.axes if axes.images]


def test_images_share_one_scale():
    picture = PICTURES["image_grid"]()
    shown = [axes for axes in picture.figure.axes if axes.images]
    assert len(shown) == 5 and {axes.images[0].get_clim() for axes in shown} == {(0, 1)}
    assert [axes.get_title() for axes in picture.figure.axes[:3]] == ["a", "b", "c"]
    np.testing.assert_array_equal(drawn(picture)[2], IMAGES[2, ..., 0])
    assert len(texts(plotting.image_grid({"colour": np.zeros((1, 8, 8, 3))}, alt="Black.").figure)) > 0


def test_the_tint_lies_on_the_background_alone():
    tinted = plotting.tint(IMAGES, MASKS)
    grey = np.repeat(IMAGES, 3, axis=-1)
    off = np.broadcast_to(MASKS == 0, tinted.shape)
    np.testing.assert_array_equal(tinted[off], grey[off])
    assert (tinted[..., 2] > tinted[..., 0])[MASKS[..., 0] == 1].all()
    alt = PICTURES["mask_sources"]().alt
    assert f"{EVIL} {100 * MASKS.mean():.0f} %" in alt and f"other {100 - 100 * MASKS.mean():.0f} %" in alt


def test_the_perturbation_is_magnified_to_the_whole_scale():
    image = np.full((1, 4, 4, 1), 0.5, "float32")
    change = np.zeros_like(image)
    change[0, 0], change[0, 1], change[0, 2] = EPS, -EPS, EPS / 2
    about = {"labels": [0], "predicted": [(0, 1)], "names": ["cat", "dog"]}
    picture = plotting.adversarial_examples(image, image + change, eps=EPS, **about)
    _, magnified, attacked = drawn(picture)
    np.testing.assert_allclose(magnified[:, 0], [1, 0, 0.75, 0.5], atol=1e-5)
    np.testing.assert_allclose(attacked, (image + change)[0, ..., 0])
    assert "true cat\ncat → dog" in texts(picture.figure) and "changes for 1 of them" in picture.alt


def test_adversarial_examples_say_what_became_of_them():
    picture = PICTURES["adversarial_examples"]()
    # Long answers are in two lines.
    titles = {f"true {EVIL}\n{EVIL} →\ndog", "true dog\ndog, kept", f"true {EVIL}\ndog →\n{EVIL}"}
    assert titles <= set(texts(picture.figure)) and f"true {EVIL} dog → {EVIL}" in picture.alt
    assert "changes for 2 of them" in picture.alt and len(drawn(picture)) == 4 * 3


@pytest.mark.parametrize("n", [2, 3, 8, 41])
def test_attack_steps_of_any_number(n):
    steps = [{"x": IMAGES[0], "loss": 0.1 * k, "confidence": 1 - k / n} for k in range(n)]
    picture = plotting.attack_steps(steps, image=IMAGES[0], eps=EPS)
    picture.png()
    titles = [axes.get_title() for axes in picture.figure.axes if axes.get_title()]
    assert titles[0] == "k = 0" and titles[-1] == f"k = {n - 1}" and len(titles) <= 7
    loss, confidence = (axes.lines[0].get_ydata() for axes in picture.figure.axes if axes.lines)
    np.testing.assert_allclose(loss, [step["loss"] for step in steps])
    np.testing.assert_allclose(confidence, [step["confidence"] for step in steps])
    assert f"through {n - 1} iterations: the loss goes from 0.00 to {0.1 * (n - 1):.2f}" in picture.alt


def test_the_true_class_stands_beside_the_predicted_one():
    steps = [step | {"predicted": EVIL} for step in STEPS]
    picture = plotting.attack_steps(steps, image=IMAGES[0], eps=EPS, true="dog")
    assert f"k = 0\ntrue dog\nread as {EVIL}" in texts(picture.figure)
    with pytest.raises(ValueError, match="steps have predicted classes; expected true="):
        plotting.attack_steps(steps, image=IMAGES[0], eps=EPS)
    told = texts(plotting.attack_cases(CASES[:1], names=[EVIL, *"bcdefghijkl"], scale=EPS).figure)
    assert {"natural: true “b”,\nread as “b”", "attacked: true “b”,\nread as “l”"} <= set(told)


def test_attack_cases_show_the_ten_most_probable_classes_and_the_change():
    picture = plotting.attack_cases(CASES[:1], names=[EVIL, *"bcdefghijkl"], scale=2 * EPS)
    natural, change, attacked = drawn(picture)
    np.testing.assert_array_equal(natural, IMAGES[0, ..., 0])
    np.testing.assert_array_equal(attacked, ATTACKED[0, ..., 0])
    np.testing.assert_allclose(change, plotting.magnify(ATTACKED[0] - IMAGES[0], 2 * EPS)[..., 0])
    bars = picture.figure.axes[-1]
    assert [tick.get_text() for tick in bars.get_yticklabels()] == ["b (true)", *"defghijkl"]  # not 0/66 and 2/66
    np.testing.assert_allclose([bar.get_width() for bar in bars.containers[0]], [1] + 9 * [0])
    np.testing.assert_allclose([bar.get_width() for bar in bars.containers[1]], np.array([1, *range(3, 12)]) / 66)
    assert "a “b” that is read as “b” (100 %) is read as “l” (17 %) under the attack" in picture.alt


def test_attack_cases_always_show_the_true_class():
    case = CASES[0] | {"label": 0, "before": np.arange(12) / 66}
    picture = plotting.attack_cases([case], names=list("abcdefghijkl"), scale=EPS)
    assert [tick.get_text() for tick in picture.figure.axes[-1].get_yticklabels()] == ["a (true)", *"defghijkl"]


def test_schedules_share_their_time_and_count_their_gradients():
    picture = PICTURES["batch_schedules"]()
    plain, other = picture.figure.axes
    assert plain.get_xlim() == other.get_xlim() == (0, 10)
    assert plain.get_title(loc="left") == f"{EVIL}: 10 steps, 15 gradients"
    assert f"{EVIL}: 10 steps of 2 slots, 15 gradients, of which 7 are needed" in picture.alt
    assert "other: 5 steps of 2 slots, 7 gradients, of which 7 are needed" in picture.alt
    bars = [(bar.get_x(), round(bar.get_y() + bar.get_height() / 2), bar.get_width()) for bar in plain.patches]
    assert bars == [(0, 0, 0), (0, 0, 5), (0, 1, 5), (5, 1, 0), (5, 0, 2), (7, 0, 3)]  # needed, then not
    assert [text.get_text() for text in plain.texts] == ["0", "1", "2"]
    colours = [bar.get_facecolor() for bar in plain.patches]
    assert colours[0] == colours[4] != colours[2] and len({*colours}) == 3


def test_numbers_that_do_not_fit_are_left_out():
    seats = [{"image": k, "slot": 0, "enters": k, "stays": 1, "needs": 1, "fooled": True} for k in (0, 399)]
    assert not plotting.batch_schedules({"long": seats}).figure.axes[0].texts


def test_bars_are_in_per_cent_with_their_intervals():
    picture = PICTURES["accuracy_bars"]()
    (axes,) = picture.figure.axes
    bars = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    assert [bar.get_label() for bar in bars] == [EVIL, "LAT"]
    np.testing.assert_allclose(bars[0].lines[0].get_ydata(), [48, 18])
    low, high = (100 * ROWS[0][f"accuracy_{end}"] for end in ("low", "high"))
    np.testing.assert_allclose(bars[0].lines[2][0].get_segments()[0][:, 1], [low, high])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["background", "full"]
    assert "background 48 %, full 18 %" in picture.alt and "LAT: background 96 %" in picture.alt


def test_over_correlation_has_a_panel_per_quantity_and_an_interval_where_there_is_one():
    picture = PICTURES["over_correlation"]()
    gap, rfs, rand = picture.figure.axes
    evil, lat = (one for one in gap.containers if isinstance(one, ErrorbarContainer))
    np.testing.assert_allclose(evil.lines[0].get_ydata(), [0, 50])  # in the order of the correlation, in points
    np.testing.assert_allclose(evil.lines[0].get_xdata(), [0, 1], atol=0.02)
    np.testing.assert_allclose(lat.lines[2][0].get_segments()[0][:, 1], [20, 40])
    evil, lat = (one for one in rfs.containers if isinstance(one, ErrorbarContainer))
    np.testing.assert_allclose(evil.lines[0].get_ydata(), [0, -0.25])
    np.testing.assert_allclose(evil.lines[2][0].get_segments()[1][:, 1], [-0.25, -0.25])
    assert len(lat.lines[0].get_ydata()) == 0 and f"BG-Gap (points), {EVIL}: 0 at 0, 50 at 1" in picture.alt
    assert gap.get_ylim() == rand.get_ylim() != rfs.get_ylim() and "RFS, LAT" not in picture.alt
    assert -20 < gap.get_ylim()[0] < -10 and 100 < gap.get_ylim()[1] < 110  # an interval up to 170 % ends there


@pytest.mark.parametrize("right", [0, 500])
def test_bars_at_the_ends_of_the_scale(right):
    # Rounding once put Wilson's bound beyond the share, and matplotlib refuses a negative error bar.
    plotting.accuracy_bars([row("natural", "full", EPS, right, n=500)]).png()


def test_bars_leave_out_what_has_no_value():
    picture = plotting.accuracy_bars(ROWS, value="asr", label="attack success rate (%)")
    assert "attack success rate (%)" in texts(picture.figure) and "None" not in picture.alt


def test_lines_run_over_sorted_budgets():
    picture = PICTURES["accuracy_over_eps"]()
    first, _ = picture.figure.axes[0].lines
    np.testing.assert_allclose(first.get_xdata(), [0, 25.5])
    np.testing.assert_allclose(first.get_ydata(), [98, 20])
    assert f"{EVIL} from 98 % at 0/255 to 20 % at 25.5/255" in picture.alt


def test_curves_share_their_scale_and_start_at_epoch_1():
    picture = PICTURES["training_curves"]()
    natural, adversarial = picture.figure.axes
    assert natural.get_ylim() == adversarial.get_ylim()
    assert [axes.get_title() for axes in (natural, adversarial)] == ["natural loss", "adversarial loss"]
    assert list(natural.lines[0].get_xdata()) == [1, 2] and list(natural.lines[0].get_ydata()) == [2.0, 1.0]
    assert f"{EVIL} natural loss 1" in picture.alt and "LAT adversarial loss 2.5" in picture.alt


def test_a_legend_names_the_lines_where_there_are_several():
    assert {EVIL, "LAT"} <= set(texts(PICTURES["accuracy_over_eps"]().figure))
    alone = plotting.accuracy_over_eps([one for one in OVER_EPS if one["model"] == "LAT"])
    assert not alone.figure.legends


def test_what_recurs_keeps_its_style_and_no_two_are_alike():
    assert plotting.styles(["LAT"]) == [plotting.styles(["x", "natural", "LAT"])[2]] == [plotting.STYLES["LAT"]]
    for names in (["natural", "natural, equal compute", "noise", "LAT", "AT"], ["background", "foreground", "full"]):
        styles = plotting.styles([*names, "mine", "yours"])
        assert len(set(styles)) == len(styles)
    assert len(plotting.styles([str(k) for k in range(20)])) == 20


# Bad input.


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_no_picture_without_alternative_text(alt):
    with pytest.raises(ValueError, match="alt is empty; expected a sentence"):
        plotting.Picture(Figure(), alt)


@pytest.mark.parametrize("rows", [{}, {"image": IMAGES[:0]}, {"image": IMAGES, "nothing": IMAGES[:0]}])
def test_no_grid_without_images(rows):
    with pytest.raises(ValueError, match="rows hold no images"):
        plotting.image_grid(rows, alt="Nothing.")


def test_nothing_to_draw_is_said():
    for draw in (plotting.accuracy_bars, plotting.accuracy_over_eps, plotting.accuracy_over_passes):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw([])
    with pytest.raises(ValueError, match="nothing to draw"):
        plotting.attack_cases([], names=["a"], scale=0.1)
    with pytest.raises(ValueError, match="nothing to draw"):
        plotting.batch_schedules({"plain": []})
    with pytest.raises(ValueError, match="nothing to draw"):
        plotting.attack_steps([], image=np.zeros((4, 4, 1)), eps=0.1)
    for histories, keys in (({}, ("loss",)), ({"a": {"loss": [1], "accuracy": [1]}}, ("loss", "accuracy"))):
        with pytest.raises(ValueError, match="losses only or accuracies only, and at least one history"):
            plotting.training_curves(histories, keys=keys)


def test_paired_differences_say_what_the_largest_carry():
    picture = PICTURES["paired_differences"]()
    share = 100 * 8.9 / (8.9 + 0.88)
    assert f"98 images. The 10 largest carry {share:.0f} % of the sum of absolute differences." in picture.alt
    assert "Left out, since not finite: 1." in picture.alt
    (axis,) = picture.figure.axes
    assert sum(bar.get_height() for bar in axis.patches) == 98 and axis.get_yscale() == "log"
    with pytest.raises(ValueError, match="nothing to draw"):
        plotting.paired_differences([np.nan], label="loss")


def errorbars(axes):
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def test_trainings_of_the_same_cost_stand_side_by_side():
    rows = [row(name, "full", EPS, 50) | {"passes": 3.5} for name in ("LAT", "AT", "random mask")]
    rows.append(row("natural", "full", EPS, 9) | {"passes": 1.0})
    picture = plotting.accuracy_over_passes([*rows, row("natural", "background", EPS, 20) | {"passes": 1.0}])
    full, background = picture.figure.axes
    assert [axis.get_title() for axis in (full, background)] == ["full", "background"]
    assert full.get_ylim() == background.get_ylim() and full.get_xlim() == background.get_xlim()
    at = {bar.get_label(): float(bar.lines[0].get_xdata()[0]) for bar in errorbars(full)}
    assert len(set(at.values())) == 4 and at["natural"] == 1.0 and at["LAT"] == 3.5
    assert all(abs(at[name] - 3.5) < 0.15 for name in ("AT", "random mask"))
    assert "full, AT: 50 % for 3.5 passes" in picture.alt and "background, natural: 20 % for 1 passes" in picture.alt


def test_paired_intervals_have_a_line_per_training_and_no_interval_where_there_is_none():
    picture = PICTURES["paired_intervals"]()
    loss, other = picture.figure.axes
    assert [tick.get_text() for tick in loss.get_yticklabels()] == [EVIL, "AT"]
    (bar,) = errorbars(loss)  # AT's difference is not finite
    np.testing.assert_allclose(bar.lines[2][0].get_segments()[0], [[-0.75, 0], [-0.25, 0]])
    (bar,) = errorbars(other)
    assert bar.lines[0].get_ydata()[0] == 1 and not bar.lines[2]
    assert f"loss, LAT − {EVIL}: {EVIL} -0.5 [-0.75 to -0.25]; other loss: AT +0.125." in picture.alt
    with pytest.raises(ValueError, match="nothing to draw"):
        plotting.paired_intervals({"loss": [{"against": "AT", "difference": None, "low": None, "high": None}]})


def test_paired_intervals_show_the_values_behind_a_mean_as_dots():
    row = {"against": "AT", "difference": 0.2, "low": 0.1, "high": 0.3, "values": [0.1, 0.2, 0.3]}
    (axis,) = plotting.paired_intervals({"loss": [row]}).figure.axes
    np.testing.assert_allclose(axis.lines[-1].get_xdata(), row["values"])
    assert set(axis.lines[-1].get_ydata()) == {0.27} and axis.lines[-1].get_marker() == "."
