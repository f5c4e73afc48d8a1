"""A mask painted by hand: a click on a square of the image paints it, another click takes the paint away."""

import functools

import ipywidgets as widgets
import numpy as np
from IPython.display import display

from locadv_tf import validation
from locadv_tf.plotting.images import image_grid, tint
from locadv_tf.plotting.sliders import somebody_is_there

BLUE = "#0073d9"  # that of `tint`


class Painting:
    """What `paint` returns: it shows itself as the last line of a cell; `mask` is what is painted now.

    Attributes:
        painted: bool `(squares, squares)`.
        shown: the widgets, or a `Picture` where nobody can click.
    """

    def __init__(self, image, painted, live):
        self.image, self.painted = image, painted
        if not live:
            self.shown = self._picture()
            return
        self._view = widgets.HTML()  # an Image widget has no alternative text
        self._buttons = {place: self._button(place) for place in np.ndindex(painted.shape)}
        columns = {"grid_template_columns": f"repeat({len(painted)}, 1.8rem)"}
        self.shown = widgets.HBox([widgets.GridBox([*self._buttons.values()], layout=columns), self._view])
        self._follow()

    @property
    def mask(self):
        """float32 `(H, W, 1)`: 1 where it is painted."""
        rows, columns = (np.arange(size) * len(self.painted) // size for size in self.image.shape[:2])
        return self.painted[np.ix_(rows, columns)].astype(np.float32)[..., None]

    def _button(self, place):
        size = {"width": "1.7rem", "height": "1.7rem", "margin": "0", "padding": "0"}
        button = widgets.Button(tooltip=f"row {place[0] + 1}, column {place[1] + 1}", layout=size)
        button.on_click(functools.partial(self._click, place))
        return button

    def _click(self, place, _):
        self.painted[place] = ~self.painted[place]
        self._follow()

    def _follow(self):
        for place, button in self._buttons.items():
            row, column = (slice(k * n // len(self.painted), (k + 1) * n // len(self.painted))
                           for k, n in zip(place, self.image.shape[:2], strict=True))  # fmt: skip
            levels = np.rint(255 * self.image[row, column].mean(axis=(0, 1))).astype(int)
            red, green, blue = np.broadcast_to(levels, 3)
            button.style.button_color = BLUE if self.painted[place] else f"#{red:02x}{green:02x}{blue:02x}"
        self._view.value = self._picture()._repr_html_()

    def _picture(self):
        alt = f"The image with what is painted, tinted blue: {100 * self.mask.mean():.1f} % of its pixels."
        return image_grid({"painted\n(blue)": tint(self.image[None], self.mask[None])}, alt=alt, size=3)

    def _ipython_display_(self):
        display(self.shown)


def paint(image, *, squares=8, start=(), live=None):
    """A mask to paint by hand: squares to click on, beside the image.

    Args:
        image: float32 `(H, W, C)` in [0, 1], C = 1 or 3.
        squares: how many in a row and in a column, from 2 to 16.
        start: those that are painted at first, pairs `(row, column)` from 0.
        live: True: squares to click on; False: a figure of what is painted at first; None: squares if somebody can
            click, see `somebody_is_there`.

    Returns:
        A `Painting`. Its `mask`, float32 `(H, W, 1)`, is 1 where it is painted at that moment.

    Raises:
        ValueError: for a bad image, another number of squares, or a start outside of them.

    Example:
        >>> painting = paint(np.zeros((8, 8, 1), np.float32), squares=4, start=[(0, 0), (1, 3)], live=False)
        >>> painting.mask[:4, :, 0].astype(int).tolist()
        [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1, 1]]
    """
    image = np.asarray(image)
    validation.images(image[None], name="image")
    if not 2 <= validation.count(squares, name="squares") <= min(16, *image.shape[:2]):
        raise ValueError(
            f"squares={squares!r} for an image of shape {image.shape}; expected 2 to 16, none without pixels."
        )
    painted = np.zeros((squares, squares), bool)
    for place in start:
        if not all(0 <= at < squares for at in place) or len(place) != 2:
            raise ValueError(f"start holds {place!r}; expected pairs (row, column) from 0 to {squares - 1}.")
        painted[tuple(place)] = True
    return Painting(image, painted, somebody_is_there() if live is None else live)
