"""A competition without anybody's code: attacked images (`.npy`) against classifiers (`.keras`).

Nothing that is handed in is executed or unpickled: an image file holds numbers, a model file Keras's own layers. A bad
file gets a line on the page and stops nobody.
"""

import html
import json
import zipfile
from pathlib import Path

import numpy as np

from locadv_tf.attacks.pgd import PGD
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.load import load_data
from locadv_tf.engine.stream import run_attack
from locadv_tf.evaluation.intervals import share_interval
from locadv_tf.models import load_classifier
from locadv_tf.reports import metrics, page, tables
from locadv_tf.units import default_eps, eps_255

KITS = "the kit's PGD-20"
LARGEST = 2**28  # bytes of a file, unpacked
_MODULES = (
    "keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints",
    "keras.src.models.functional",
)  # fmt: skip
_CODE = ("Lambda", "__lambda__", "function", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")  # or run files
_SIZES = ("units", "filters", "input_dim", "output_dim")


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
    kits = PGD(eps=eps, steps=20)
    files = [path for path in sorted(folder.glob("*/*")) if path.suffix in (".npy", ".keras")]
    if not files:
        raise ValueError(f"{str(folder)!r} holds no TEAM/*.npy and no TEAM/*.keras; expected what students handed in.")
    attacked, defences, rows = {}, {}, {}
    for path in files:
        name, is_attack = str(path.relative_to(folder)), path.suffix == ".npy"
        try:
            _plain_file(path)
            if is_attack:
                attacked[name], checks = read_images(path, image, mask, eps)
            else:
                defences[name], checks = read_model(path, image.shape[1:])
            rows[name] = {"file": name, "problem": None, "checks": checks}
        except Exception as problem:  # an unknown file: any error is possible, and no other file's business
            rows[name] = _refused(name, problem)
        log(f"{name}: {rows[name]['problem'] or rows[name]['checks']}")
    right, survives = {}, {}
    for name, model in defences.items():
        try:
            right[name] = _right(model, image, label)
            against = {attack: right[name] & _right(model, x, label) for attack, x in attacked.items()}
            found = run_attack(model, (image, label, mask), kits, region="background", seed=seed, stop="fooled")
        except Exception as problem:  # it takes one image and no batch, say
            rows[name] = _refused(name, problem)
            log(f"{name}: {rows[name]['problem']}")
            continue
        survives[name] = against | {KITS: right[name] & ~np.asarray(found.fooled)}
        rows[name] |= {
            "natural": share_interval(int(right[name].sum()), len(label)),
            "under": {attack: share_interval(int(left.sum()), len(label)) for attack, left in survives[name].items()},
            "under_all": share_interval(int(np.all([*survives[name].values()], axis=0).sum()), len(label)),
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
    x = np.load(path, mmap_mode="r", allow_pickle=False)
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


def read_model(path, shape):
    """A classifier of Keras's own layers, and what was checked. Its description is read before anything is built.

    Raises:
        ValueError: for code, custom objects, more than `LARGEST` bytes, or another input or output.
    """
    with zipfile.ZipFile(path) as parts:
        if sum(part.file_size for part in parts.infolist()) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MB unpacked; expected a small classifier.")
        config = json.loads(parts.read("config.json"))
    found = list(_parts({key: value for key, value in config.items() if key != "compile_config"}))  # it is not used
    for part in found:
        kind, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
        if kind in _CODE or (module or "keras") not in _MODULES or registered not in (None, kind):
            raise ValueError(
                f"it holds {registered or kind!r} of {module!r}; expected Keras's own layers, and no code."
            )
    if any(isinstance(part.get(size), int) and part[size] > 10**5 for part in found for size in _SIZES):
        raise ValueError("a layer of more than 100,000 units; expected a small classifier.")
    model = load_classifier(path, input_shape=shape)
    return model, f"{model.count_params():,} parameters, Keras's own layers, logits"


def _refused(name, problem):
    """The row of a file that does not compete."""
    return {"file": name, "problem": str(problem).partition("\n")[0][:300] or type(problem).__name__, "checks": None}


def _plain_file(path):
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise ValueError("a link or no file; expected a file.")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"more than {LARGEST >> 20} MB; expected a smaller file.")


def _parts(config):
    """All dictionaries in a model's description."""
    if isinstance(config, dict):
        yield config
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _parts(value)


def _right(model, x, label):
    return model.predict(x, batch_size=256, verbose=0).argmax(axis=-1) == np.asarray(label)


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
