"""A mask painted by hand: clicks, what they paint, and the figure where nobody can click."""

import re

import ipywidgets
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from locadv_tf import plotting
from locadv_tf.plotting import painting

IMAGE = np.linspace(0, 1, 28 * 28, dtype=np.float32).reshape(28, 28, 1)


def squares_of(made):
    grid, view = made.shown.children
    return dict(zip(np.ndindex(made.painted.shape), grid.children, strict=True)), view


def test_a_click_paints_a_square_and_another_takes_it_away():
    made = plotting.paint(IMAGE, start=[(0, 0)], live=True)
    squares, view = squares_of(made)
    assert made.mask.shape == (28, 28, 1) and made.mask.dtype == np.float32
    assert len(squares) == 64 and squares[2, 5].tooltip == "row 3, column 6"
    before = made.mask
    squares[7, 7].click()
    assert not before[24:, 24:].any() and made.mask[25:, 25:].all() and made.mask[:3, :3].all()
    assert squares[7, 7].style.button_color == painting.BLUE != squares[0, 1].style.button_color
    share = re.search(r"([\d.]+) % of its pixels", view.value).group(1)
    assert float(share) == pytest.approx(100 * made.mask.mean(), abs=0.05)
    squares[7, 7].click()
    np.testing.assert_array_equal(made.mask, before)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (13, 30, 1)])
def test_the_squares_cover_each_pixel_once(shape):
    alone = [plotting.paint(np.zeros(shape, np.float32), start=[place], live=False).mask for place in np.ndindex(8, 8)]
    np.testing.assert_array_equal(np.sum(alone, axis=0), np.ones((*shape[:2], 1)))


def test_unpainted_squares_have_the_colour_of_the_image():
    image = np.zeros((4, 4, 3), np.float32)
    image[:2, 2:] = [1.0, 0.0, 0.2]
    squares, _ = squares_of(plotting.paint(image, squares=2, live=True))
    assert [square.style.button_color for square in squares.values()] == ["#000000", "#ff0033", "#000000", "#000000"]


def test_where_nobody_can_click_it_is_a_figure(monkeypatch):
    made = plotting.paint(IMAGE, start=[(0, 0), (0, 1)])  # pytest: nobody is there
    assert isinstance(made.shown, plotting.Picture) and "% of its pixels" in made.shown.alt
    monkeypatch.setattr(painting, "somebody_is_there", lambda: True)
    assert isinstance(plotting.paint(IMAGE).shown, ipywidgets.HBox)
    shell, shown = InteractiveShell.instance(), []
    try:
        monkeypatch.setattr(painting, "display", shown.append)
        shell.display_formatter.format(made)
    finally:
        InteractiveShell.clear_instance()
    assert shown == [made.shown]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((28, 28), np.float32)}, "image"),
        ({"image": np.zeros((28, 28, 1), np.uint8)}, "dtype uint8"),
        ({"squares": 1}, "expected 2 to 16"),
        ({"squares": 17}, "expected 2 to 16"),
        ({"image": np.zeros((4, 4, 1), np.float32)}, "none without pixels"),
        ({"start": [(0, 8)]}, r"expected pairs \(row, column\) from 0 to 7"),
        ({"start": [(1, 2, 3)]}, "expected pairs"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        plotting.paint(**{"image": IMAGE} | change)
