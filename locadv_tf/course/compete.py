"""A competition without anybody's code: attacked images (`.npy`) against classifiers (`.keras`).

Nothing that is handed in is executed or unpickled: an image file holds numbers, a model file Keras's own layers. A bad
file gets a line on the page and stops nobody: classifiers are read and attacked in another process, within limits.
"""

import contextlib
import html
import tempfile
from pathlib import Path

import numpy as np

from locadv_tf.course import defences
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.load import load_data
from locadv_tf.evaluation.intervals import share_interval
from locadv_tf.reports import metrics, page, tables
from locadv_tf.units import default_eps, eps_255

KITS = "the kit's PGD-20"


def compete(folder, *, dataset="digits", eps=None, limit=200, seed=0, out="compete.html", log=print):
    """Checks what students handed in, runs every attack on every defence, and writes a page.

    Attacked images are those of `load_data(dataset, "test", limit=limit, seed=seed)`, in that order. They may differ
    from them by eps per pixel, on the background alone. A defence is a classifier that returns logits.

    Args:
        folder: `TEAM/*.npy`, float32 `(N, H, W, C)`, and `TEAM/*.keras`.
        dataset, limit, seed: which images.
        eps: the budget; None: the data set's default.
        out: the page.
        log: called with a line per file.

    Returns:
        A dictionary: `attacks` and `defences`, a list of rows each, with `file`, `problem` (None, or why it does not
        compete) and, without one, `checks` and the scores: shares with their 95 % intervals.

    Raises:
        ValueError: if there is no file at all, or for values that `load_data` and `PGD` do not take.
    """
    folder = Path(folder)
    image, label, mask = to_arrays(load_data(dataset, "test", limit=limit, seed=seed))
    eps = default_eps(image) if eps is None else eps
    defences.kits(eps)  # a wrong budget stops here
    images, models = (sorted(folder.glob(f"*/*{suffix}")) for suffix in (".npy", ".keras"))
    if not (images or models):
        raise ValueError(f"{str(folder)!r} holds no TEAM/*.npy and no TEAM/*.keras; expected what students handed in.")
    attacked, right, survives, rows = {}, {}, {}, {}

    def keep(name, problem, checks=None):
        rows[name] = {"file": name, "problem": problem, "checks": checks}
        log(f"{name}: {problem or checks}")

    for path in images:
        name = str(path.relative_to(folder))
        try:
            _check_file(path)
            attacked[name], checks = read_images(path, image, mask, eps)
            keep(name, None, checks)
        except Exception as problem:  # an unknown file: any error is possible, and no other file's business
            keep(name, defences.told(problem))
    with tempfile.TemporaryDirectory() as work:
        task = Path(work) / "task.npz"
        np.savez(task, image=image, label=label, mask=mask, attacked=[*attacked.values()])
        with contextlib.closing(defences.Examiner(task, eps=eps, seed=seed)) as examine:
            for path in models:
                name = str(path.relative_to(folder))
                try:
                    _check_file(path)
                except ValueError as problem:
                    keep(name, defences.told(problem))
                    continue
                found = examine(path)
                keep(name, found["problem"], found.get("checks"))
                if found["problem"]:
                    continue
                right[name] = np.array(found["right"])
                survives[name] = {
                    attack: np.array(left)
                    for attack, left in zip((*attacked, KITS), (*found["under"], found["kits"]), strict=True)
                }
    for name, under in survives.items():
        rows[name] |= {
            "natural": share_interval(int(right[name].sum()), len(label)),
            "under": {attack: share_interval(int(left.sum()), len(label)) for attack, left in under.items()},
            "under_all": share_interval(int(np.all([*under.values()], axis=0).sum()), len(label)),
        }
    for attack in attacked:
        others = [name for name in survives if Path(name).parent != Path(attack).parent]
        hits, n = (sum(int(each.sum()) for each in part) for part in (
            [right[name] & ~survives[name][attack] for name in others], [right[name] for name in others]
        ))  # fmt: skip
        rows[attack] |= {"defences": len(others), "fooled": share_interval(hits, n)}
    result = {
        "attacks": _ranked([row for name, row in rows.items() if name.endswith(".npy")], "fooled"),
        "defences": _ranked([row for name, row in rows.items() if name.endswith(".keras")], "under_all"),
    }
    about = f"{len(label)} test images of {dataset} (seed {seed}), background, eps = {eps_255(eps)}"
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text(Path(out), page.page("Competition", _body(result, about)))
    return result


def read_images(path, image, mask, eps):
    """Attacked images that keep the rules, and what was checked.

    Raises:
        ValueError: for another type, shape or range, or a change that is not allowed.
    """
    x = np.lib.format.open_memmap(path, mode="r")  # reads this one format, never unpickles, and loads nothing yet
    if x.dtype != np.float32 or x.shape != image.shape:
        raise ValueError(f"{x.dtype} of shape {x.shape}; expected float32 of shape {image.shape}.")
    x = np.array(x)
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise ValueError("values outside of [0, 1], or NaN; expected images in [0, 1].")
    change = np.abs(x - image)
    far = int((change.max(axis=(1, 2, 3)) > eps + 1e-6).sum())
    if far:
        raise ValueError(f"{far} images changed by up to {eps_255(change.max())}; expected at most {eps_255(eps)}.")
    outside = int(np.any((x != image) & (mask == 0), axis=(1, 2, 3)).sum())
    if outside:
        raise ValueError(f"{outside} images changed outside of the mask; expected a change of the background alone.")
    return x, f"in [0, 1], changed by up to {eps_255(change.max())}, on the background alone"


def _check_file(path):
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise ValueError("a link or no file; expected a file.")
    if path.stat().st_size > defences.LARGEST:
        raise ValueError(f"more than {defences.LARGEST >> 20} MB; expected a smaller file.")


def _ranked(rows, score):
    """The best first, what does not compete last."""
    return sorted(rows, key=lambda row: (bool(row["problem"]), -((row.get(score) or [0])[0] or 0), row["file"]))


def _body(result, about):
    attacks = [KITS, *(row["file"] for row in result["attacks"] if not row["problem"])]
    defences = tables.Table([
        {
            "defence": row["file"],
            "natural accuracy": _shown(row.get("natural")),
            "accuracy, all attacks together": _shown(row.get("under_all")),
            **{attack: _shown(row.get("under", {}).get(attack)) for attack in attacks},
            "checks": row["problem"] or row["checks"],
        }
        for row in result["defences"]
    ])  # fmt: skip
    fooled = "right images fooled, of other teams' defences"
    attacks = tables.Table([
        {
            "attack": row["file"],
            fooled: _shown(row.get("fooled")),
            "defences": row.get("defences", ""),
            "checks": row["problem"] or row["checks"],
        }
        for row in result["attacks"]
    ])  # fmt: skip
    return (
        f"<h1>Competition</h1><p>{html.escape(about)}. Shares in %, with 95 % intervals.</p>"
        f"<h2>Defences</h2>{defences._repr_html_()}"
        "<p>The accuracy under attacks is an upper bound of the robust accuracy: others may find more.</p>"
        f"<h2>Attacks</h2>{attacks._repr_html_()}"
    )


def _shown(interval):
    share, low, high = interval or (None, None, None)
    return "–" if share is None else f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
