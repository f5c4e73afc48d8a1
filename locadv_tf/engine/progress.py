"""A progress bar that reads well in a terminal, in JupyterLab and in a notebook that papermill ran.

tqdm's own notebook bar is a widget, which stays at 0 in an executed notebook. Its text bar leaves a line per update in
the HTML. Here a notebook's bar is one output that each update overwrites: only its last state is kept.
"""

import sys

from tqdm import tqdm


def progress_bar(title, items=None, *, total=None, shown=True, unit="image"):
    """A `tqdm` bar: around something to go through, or by itself a context manager with `update(n)`.

    Args:
        title: what is going on.
        items: what to go through, or None.
        total: how many units there are, or None if unknown.
        shown: False: no bar.
        unit: what is counted.
    """
    kind = _NotebookBar if "ipykernel" in sys.modules else tqdm
    return kind(items, desc=title, total=total, disable=not shown, unit=f" {unit}s", mininterval=0.5, file=sys.stdout)


class _NotebookBar(tqdm):
    """A tqdm bar drawn by IPython's display, one output that each update overwrites."""

    handle = None

    def display(self, msg=None, pos=None):
        from IPython.display import display  # only here: a terminal needs no IPython

        text = {"text/plain": str(self) if msg is None else msg}
        if self.handle is None:
            self.handle = display(text, raw=True, display_id=True)
        else:
            self.handle.update(text, raw=True)

    def close(self):
        if not self.disable:
            self.display()
        self.sp = None  # tqdm would draw once more, and print an empty line
        super().close()
