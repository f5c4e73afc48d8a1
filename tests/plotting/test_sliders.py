"""The sliders of notebook 01, and the figure that stands in their place where nobody can move them."""

import dataclasses
import html
import re
import time
import types

import ipywidgets
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf import plotting
from locadv_tf.plotting import sliders

NAMES = list("0123456789")
ATTACK = la.PGD(eps=0.1, steps=6)


@pytest.fixture(scope="module")
def digits(digits_test, natural_model):
    """Five digits that the natural model reads right."""
    images, labels, masks = la.to_arrays(digits_test.take(30))
    right = np.flatnonzero(natural_model(images, training=False).numpy().argmax(axis=-1) == labels)[:5]
    return images[right], labels[right], masks[right]


@pytest.fixture()
def drawn(monkeypatch):
    """The cases of every picture that is drawn, in turn."""
    cases = []
    draw = plotting.attack_cases
    monkeypatch.setattr(sliders, "attack_cases", lambda some, **how: cases.append(some) or draw(some, **how))
    return cases


def explore(model, digits, live, attack=ATTACK):
    return sliders.explore(model, *digits, names=NAMES, attack=attack, seed=3, live=live)


def alt_of(panel):
    return html.unescape(re.search(r'<img alt="([^"]*)"', panel.children[-1].value).group(1))


def test_without_anybody_there_it_is_a_figure_of_all_regions(natural_model, digits, drawn):
    picture = explore(natural_model, digits, live=None)  # pytest: nobody is there
    assert isinstance(picture, plotting.Picture)
    ((*cases,),) = drawn
    assert [case["region"] for case in cases] == ["background", "foreground", "full"]
    for case in cases:
        assert f"PGD-6, eps = 25.5/255 on the region {case['region']}: a “{NAMES[digits[1][0]]}”" in picture.alt


@pytest.mark.parametrize("region", ["background", "foreground", "full"])
def test_the_sliders_show_what_the_attack_does(region, natural_model, digits, drawn):
    panel = explore(natural_model, digits, live=True)
    index, eps, steps, where, picture = panel.children
    index.value, eps.value, steps.value, where.value = 2, 12.0, 4, region
    (case,) = drawn[-1]
    one = slice(2, 3)
    images, labels, masks = (part[one] for part in digits)
    attack = dataclasses.replace(ATTACK, eps=12 / 255, steps=4)
    expected = attack(natural_model, images, labels, mask=la.region_mask(masks, region), seed=3)
    logits = [natural_model(x, training=False) for x in (images, expected)]
    assert np.abs(case["x"] - images[0]).max() <= 12 / 255 + 1e-6
    untouched = ~np.broadcast_to(la.region_mask(masks, region)[0], images[0].shape)
    np.testing.assert_array_equal(case["x"][untouched], images[0][untouched])
    np.testing.assert_allclose(case["before"], tf.nn.softmax(logits[0])[0], atol=1e-5)
    # Of the engine's random numbers the first image has those of index 0, as in a call on one image.
    np.testing.assert_allclose(case["after"], tf.nn.softmax(logits[1])[0], atol=1e-3)
    assert f"PGD-4, eps = 12/255 on the region {region}: a “{NAMES[labels[0]]}”" in alt_of(panel)
    assert isinstance(picture, ipywidgets.HTML)


def test_each_control_redraws_at_once(natural_model, digits):
    panel = explore(natural_model, digits, live=True)
    values = (3, 10.0, 9, "foreground")
    seen = [alt_of(panel)]
    started = time.process_time()
    for control, value in zip(panel.children, values, strict=False):
        control.value = value
        seen.append(alt_of(panel))
    assert len(set(seen)) == 5
    assert (time.process_time() - started) / 4 < 0.8  # seconds of one core


def test_two_models_stand_side_by_side_on_the_same_image(natural_model, lat_model, digits, drawn):
    both = {"natural": natural_model, "LAT": lat_model}
    panel = explore(both, digits, live=True)
    index, eps, steps, where, _ = panel.children
    index.value, eps.value, steps.value, where.value = 1, 20.0, 5, "full"
    for case, model in zip(list(drawn[-1]), both.values(), strict=True):
        alone = explore(model, digits, live=True)
        for control, value in zip(alone.children, (1, 20.0, 5, "full"), strict=False):
            control.value = value
        for what in ("image", "x", "before", "after"):
            np.testing.assert_array_equal(case[what], drawn[-1][0][what])
    assert "natural: PGD-5, eps = 20/255 on the region full" in alt_of(panel) and "LAT: PGD-5" in alt_of(panel)


def test_without_anybody_there_several_models_are_shown_on_the_background(natural_model, lat_model, digits, drawn):
    picture = explore({"natural": natural_model, "LAT": lat_model}, digits, live=False)
    ((*cases,),) = drawn
    assert [(case["model"], case["region"]) for case in cases] == [("natural", "background"), ("LAT", "background")]
    assert "natural: PGD-6" in picture.alt and "LAT: PGD-6" in picture.alt


def test_a_budget_of_zero_is_the_image_itself(natural_model, digits, drawn):
    panel = explore(natural_model, digits, live=True)
    panel.children[1].value = 0.0
    (case,) = drawn[-1]
    np.testing.assert_array_equal(case["x"], digits[0][0])
    np.testing.assert_allclose(case["before"], case["after"], rtol=1e-5, atol=1e-8)
    assert "the largest change of a pixel is 0/255" in alt_of(panel)


@pytest.mark.parametrize(("eps", "top"), [(0.1, 51), (4 / 255, 8), (0.7, 255)])
def test_the_sliders_reach_up_to_twice_the_attack(eps, top, natural_model, digits):
    index, budget, steps, region, _ = explore(
        natural_model, digits, live=True, attack=la.PGD(eps=eps, steps=3)
    ).children
    assert (index.min, index.max, index.value) == (0, 4, 0)
    assert (budget.min, steps.min, steps.max, steps.value) == (0, 1, 6, 3)
    assert budget.max == pytest.approx(top) and budget.value == pytest.approx(255 * eps)
    assert region.value == "background"


def test_every_control_says_what_it_is(natural_model, digits):
    *controls, _ = explore(natural_model, digits, live=True).children
    assert [control.description for control in controls] == ["image", "eps (n/255)", "steps", "region"]


@pytest.mark.parametrize(
    ("content", "there"), [({"allow_stdin": True}, True), ({"allow_stdin": False}, False), ({}, False), (None, False)]
)
def test_who_runs_the_cell_says_whether_somebody_is_there(content, there, monkeypatch):
    shell = types.SimpleNamespace()
    if content is not None:  # a terminal's IPython has no kernel
        shell.kernel = types.SimpleNamespace(get_parent=lambda channel: {"content": content})
    monkeypatch.setattr(sliders, "get_ipython", lambda: shell)
    assert sliders.somebody_is_there() is there


def test_with_somebody_there_it_is_sliders(natural_model, digits, monkeypatch):
    monkeypatch.setattr(sliders, "somebody_is_there", lambda: True)
    assert isinstance(explore(natural_model, digits, live=None), ipywidgets.VBox)
    assert isinstance(explore(natural_model, digits, live=False), plotting.Picture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": la.FGSM(eps=0.1)}, "expected a PGD with a budget above 0"),
        ({"attack": la.PGD(eps=0.0)}, "expected a PGD with a budget above 0"),
        ({"model": {}}, "model is an empty dictionary; expected at least one model"),
        ({"names": ["cat", "dog"]}, "names has 2 names; expected one for each of the model's 10 classes"),
        ({"images": np.zeros((0, 28, 28, 1), "float32")}, "expected at least one image"),
        ({"images": np.full((5, 28, 28, 1), 7, "uint8")}, "dtype uint8"),
        ({"labels": np.full(5, 10)}, "out of range"),
        ({"labels": np.zeros(3, int)}, "N = 5 images"),
        ({"masks": np.zeros((5, 8, 8, 1), "float32")}, r"expected \(5, 28, 28, 1\)"),
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_bad_input(change, message, live, natural_model, digits):
    given = dict(zip(("images", "labels", "masks"), digits, strict=True)) | {"names": NAMES, "attack": ATTACK}
    with pytest.raises(ValueError, match=message):
        sliders.explore(**{"model": natural_model} | given | change, live=live)
