"""An interactive attack: sliders for its budget, its steps and its region; the picture follows.

If nobody can move a slider (papermill, nbconvert, nbgrader), the same function draws a figure instead: without its
kernel a widget shows a fixed picture, or nothing.
"""

import dataclasses

import ipywidgets as widgets
import numpy as np
import tensorflow as tf
from IPython import get_ipython

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.engine.stream import run_attack
from locadv_tf.plotting.images import attack_cases


def explore(model, images, labels, masks, *, names, attack, seed=0, live=None):
    """Shows what an attack does to an image, with sliders for the image, the budget, the steps and the region.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits; or a dictionary from names to such models.
            Each model then has a row of its own: it is attacked itself, on the same image, with the same settings.
        images: float32 `(N, H, W, C)` in [0, 1], at least one image to choose from.
        labels: their true classes, integers `(N,)`; `masks`: their background, `(N, H, W, 1)`.
        names: the classes' names.
        attack: a `PGD`; the sliders start at its values and reach up to twice its budget and its steps.
        seed: integer that decides the attack's random numbers.
        live: True: sliders; False: a figure of the first image under attack, in each region, or for several models on
            the background; None: sliders if somebody can move them, see `somebody_is_there`.

    Returns:
        An `ipywidgets.VBox`, or a `plotting.Picture` for `live=False`. Both show themselves as the last line of a cell.

    Raises:
        ValueError: for another attack, a budget of 0, no models, another number of names than classes, or bad images.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> images, labels, masks = la.to_arrays(la.load_data("digits", "test[:3]"))
        >>> attack = la.PGD(eps=0.1, steps=5)
        >>> panel = explore(model, images, labels, masks, names=list("0123456789"), attack=attack, live=True)
        >>> [control.description for control in panel.children[:-1]]
        ['image', 'eps (n/255)', 'steps', 'region']
    """
    images, labels, masks = (np.asarray(part) for part in (images, labels, masks))
    if not isinstance(attack, PGD) or attack.eps == 0:
        raise ValueError(f"attack={attack!r}; expected a PGD with a budget above 0, for example PGD(eps=0.1).")
    if len(validation.images(images, name="images")) == 0:
        raise ValueError(f"images has shape {images.shape}; expected at least one image.")
    validation.masks(masks, images, name="masks")
    models = model if isinstance(model, dict) else {"": model}
    if not models:
        raise ValueError("model is an empty dictionary; expected at least one model.")
    for each in models.values():
        classes = validation.model_logits(each, each(images[:1], training=False))
        validation.labels(labels, images, num_classes=classes, name="labels")
        if len(names) != classes:
            raise ValueError(f"names has {len(names)} names; expected one for each of the model's {classes} classes.")
    largest = min(1.0, 2 * attack.eps)

    def case(name, index, eps, steps, region):
        now = dataclasses.replace(attack, eps=eps, steps=steps)
        one = slice(index, index + 1)
        # The engine's compiled step takes any budget: nothing is traced again, and the answer comes at once.
        result = run_attack(
            models[name],
            (images[one], labels[one], masks[one]),
            now,
            region=region,
            seed=seed,
            stop="worst",
            batch_size=1,
        )
        pair = np.concatenate([images[one], result.images])
        before, after = tf.nn.softmax(models[name](pair, training=False)).numpy()
        shown = {"model": name, "image": pair[0], "x": pair[1], "before": before, "after": after}
        return shown | {"label": int(labels[index]), "region": region, "attack": str(now)}

    if somebody_is_there() if live is None else live:
        return _panel(
            lambda *chosen: attack_cases([case(name, *chosen) for name in models], names=names, scale=largest),
            count=len(images),
            attack=attack,
            largest=largest,
        )
    regions = validation.REGIONS if len(models) == 1 else ("background",)
    cases = [case(name, 0, attack.eps, attack.steps, region) for name in models for region in regions]
    return attack_cases(cases, names=names, scale=attack.eps)


def somebody_is_there():
    """Whether a user runs this cell and can answer: yes in JupyterLab, no under papermill and nbconvert.

    Every request to run a cell has `allow_stdin`: whether `input()` can reach a user (Jupyter's messaging protocol,
    "execute"). Outside a notebook there is no user.

    Example:
        >>> somebody_is_there()
        False
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin", False))


def _panel(draw, *, count, attack, largest):
    """The sliders above the picture that `draw(index, eps, steps, region)` gives."""
    look = {"style": {"description_width": "6rem"}, "layout": {"width": "34rem", "max_width": "100%"}}
    grey_levels = {"min": 0, "max": 255 * largest, "step": 0.5, "readout_format": ".1f"}
    index = widgets.IntSlider(0, min=0, max=count - 1, description="image", **look)
    eps = widgets.FloatSlider(255 * attack.eps, description="eps (n/255)", **grey_levels, **look)
    steps = widgets.IntSlider(attack.steps, min=1, max=2 * attack.steps, description="steps", **look)
    region = widgets.Dropdown(options=validation.REGIONS, description="region", **look)
    controls = (index, eps, steps, region)
    picture = widgets.HTML()  # an Image widget has no alternative text

    def follow(_=None):
        picture.value = draw(index.value, eps.value / 255, steps.value, region.value)._repr_html_()

    # A front end sends the next value only after the last one is finished, and skips those in between: dragging a
    # slider does not queue up work.
    for control in controls:
        control.observe(follow, "value")
    follow()
    return widgets.VBox([*controls, picture])
