"""What all figures share: alternative text, colours and markers, legends."""

import base64
import html
import io

BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")  # fmt: skip
STYLES = {  # fixed colours and markers; other names get the next free ones
    "natural": (BLACK, "o"),
    "natural, equal compute": ("#777777", "D"),
    "noise": (ORANGE, "v"),
    "LAT": (BLUE, "s"),
    "AT": (RED, "^"),
    "background": (BLUE, "s"),
    "foreground": (ORANGE, "v"),
    "full": (RED, "^"),
    "random mask": (PINK, "X"),
    "random noise": ("#777777", "D"),
}
WIDTH = 9.0  # inches, at most: on the page wider figures would shrink, and their letters too
_SPARE = [(GREEN, "P"), (SKY, "*"), (PINK, "X"), (ORANGE, "<"), (GREEN, "h"), (SKY, "p")]


class Picture:
    """A figure with its alternative text; a notebook shows it as `<img alt=…>`.

    Args:
        figure: a `matplotlib.figure.Figure`.
        alt: what the figure shows, for readers who cannot see it.

    Raises:
        ValueError: for an empty alternative text.
    """

    def __init__(self, figure, alt):
        if not alt.strip():
            raise ValueError("alt is empty; expected a sentence that says what the figure shows.")
        self.figure, self.alt = figure, " ".join(alt.split())

    def png(self):
        """The figure as the bytes of a PNG file."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white")
        return buffer.getvalue()

    def _repr_html_(self):
        data = base64.b64encode(self.png()).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}" style="max-width: 100%">'

    def __repr__(self):
        return f"Picture: {self.alt}"


class StoredPicture(Picture):
    """A figure that was drawn before, from its PNG file.

    Args:
        path: of the file.
        alt: as for `Picture`.
    """

    def __init__(self, path, alt):
        super().__init__(None, alt)
        self.path = path

    def png(self):
        """The bytes of the file."""
        return self.path.read_bytes()


def styles(names):
    """A colour and a marker for each name, `[(colour, marker), …]`."""
    spare = iter(_SPARE * (1 + len(names) // len(_SPARE)))
    return [STYLES[name] if name in STYLES else next(spare) for name in names]


def add_legend(figure, axis, names):
    """A legend beside the axes, if there is more than one name."""
    if len(names) > 1:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)


def refuse_nothing(rows):
    """Raises a `ValueError` if there is nothing to draw."""
    if len(rows) == 0:
        raise ValueError("there is nothing to draw; expected at least one row.")


def unique(rows, key):
    """The different values of a key, in the order of the rows."""
    return list(dict.fromkeys(row[key] for row in rows))
