"""As strong as the others? The kit's attacks and the peers' on the same models, images and budgets, robust accuracies
side by side: `python benchmarks/agreement.py --help`. Needs the extra `peers`.

The kit's may not be more than half a point higher: that would be a weaker attack. Most attacks start at random, so each
is the mean over a few seeds. Where a peer has no mask, the whole image is attacked.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import locadv_tf as la  # before keras: it keeps TensorFlow's start-up messages off the screen

import bench  # isort: skip
import keras  # isort: skip
import tensorflow as tf  # isort: skip
from contestants import BATCH, art_classifier  # isort: skip

AGREE = 0.005  # how much higher the kit's robust accuracy may be


def art(kind, **options):
    """An attack of ART on a model: `(x, y, mask) -> images`."""

    def run(model, x, y, mask):
        from art.attacks import evasion

        masks = {} if mask is None else {"mask": np.broadcast_to(mask, x.shape)}
        return getattr(evasion, kind)(art_classifier(model), batch_size=BATCH, **options).generate(x, y, **masks)

    return run


def art_auto_attack(eps, queries):
    """ART's AutoAttack: APGD on both losses and Square, each on the survivors of the one before; no DeepFool."""

    def run(model, x, y, mask):
        from art.attacks import evasion

        wrapped = art_classifier(model)
        apgd = {"eps": eps, "eps_step": 2 * eps, "max_iter": 100, "nb_random_init": 1, "verbose": False}
        losses = ("cross_entropy", "difference_logits_ratio")
        attacks = [evasion.AutoProjectedGradientDescent(wrapped, loss_type=loss, **apgd) for loss in losses]
        attacks.append(evasion.SquareAttack(wrapped, eps=eps, max_iter=queries, nb_restarts=1, verbose=False))
        attack = evasion.AutoAttack(wrapped, eps=eps, eps_step=2 * eps, attacks=attacks, batch_size=BATCH)
        return attack.generate(x, np.eye(model.output_shape[-1])[y])

    return run


def foolbox(kind, eps, **options):
    """An attack of Foolbox on a model; it has no masks."""

    def run(model, x, y, mask):
        import foolbox

        wrapped = foolbox.TensorFlowModel(model, bounds=(0, 1))
        labels = tf.constant(y, tf.int64)  # int32 breaks it under NumPy 2
        attack = getattr(foolbox.attacks, kind)(**options)
        parts = [slice(first, first + BATCH) for first in range(0, len(x), BATCH)]
        return np.concatenate([attack(wrapped, tf.constant(x[p]), labels[p], epsilons=eps)[1].numpy() for p in parts])

    return run


def pairs(eps, eps_l2, steps, queries):
    """`(region, the kit's attack, the peer's name, the peer)`, each pair with the same budget."""
    alpha, verbose = 2.5 * eps / steps, {"verbose": False}
    pgd = {"eps": eps, "eps_step": alpha, "max_iter": steps, "num_random_init": 1, **verbose}
    apgd = {"eps": eps, "eps_step": 2 * eps, "max_iter": 100, "nb_random_init": 1, **verbose}
    l2 = {"abs_stepsize": 2.5 * eps_l2 / steps, "steps": steps, "random_start": True}
    return [
        ("background", la.FGSM(eps=eps), "ART FGSM", art("FastGradientMethod", eps=eps)),
        ("background", la.PGD(eps=eps, steps=steps), "ART PGD", art("ProjectedGradientDescent", **pgd)),
        ("full", la.PGD(eps=eps, steps=steps), "Foolbox LinfPGD",
         foolbox("LinfPGD", eps, abs_stepsize=alpha, steps=steps, random_start=True)),
        ("full", la.PGD(eps=eps_l2, steps=steps, norm="l2"), "Foolbox L2PGD", foolbox("L2PGD", eps_l2, **l2)),
        ("full", la.APGD(eps=eps), "ART APGD (cross-entropy)",
         art("AutoProjectedGradientDescent", loss_type="cross_entropy", **apgd)),
        ("full", la.Square(eps=eps, queries=queries), "ART Square",
         art("SquareAttack", eps=eps, max_iter=queries, nb_restarts=1, **verbose)),
        ("full", la.LocalizedAutoAttack(eps=eps), "ART AutoAttack", art_auto_attack(eps, la.Square(eps=eps).queries)),
    ]  # fmt: skip


def compare(model, data, pair, seeds):
    """One row: robust accuracies of the kit's attack and the peer's on the same images, means over the seeds."""
    region, attack, name, peer = pair
    x, y, mask = data
    masks = None if region == "full" else la.region_mask(mask, region).numpy()
    natural = right(model, x, y)
    ours, theirs, largest = [], [], 0.0
    for seed in range(seeds):
        ours.append(1 - la.run_attack(model, data, attack, region=region, keep_images=False, seed=seed).fooled.mean())
        keras.utils.set_random_seed(seed)  # the peers draw from NumPy's and TensorFlow's global generators
        x_adv = peer(model, x, y, masks)
        theirs.append((natural & right(model, x_adv, y)).mean())
        change = x_adv - x
        sizes = np.sqrt((change**2).sum(axis=(1, 2, 3))) if attack.norm == "l2" else np.abs(change)
        largest = max(largest, sizes.max())
    ours, theirs = float(np.mean(ours)), float(np.mean(theirs))
    return {
        "region": region,
        "attack": str(attack),
        "peer": name,
        "ours": ours,
        "theirs": theirs,
        "agrees": ours <= theirs + AGREE,
        "within_budget": bool(largest <= attack.eps + 1e-5),
    }


def right(model, x, y):
    return model.predict(x, batch_size=500, verbose=0).argmax(axis=-1) == y


def markdown(rows, options):
    lines = [
        f"`python benchmarks/agreement.py`: {options.images} test images of {options.dataset}, means over "
        f"{options.seeds} seeds. The kit's may be at most {100 * AGREE:.1f} points higher.",
        "",
        "| model | region | the kit's attack | accuracy | peer | accuracy | as strong |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        budget = "" if row["within_budget"] else " (beyond the budget)"
        lines.append(
            f"| {row['model']} | {row['region']} | {row['attack']} | {100 * row['ours']:.1f} % | {row['peer']} | "
            f"{100 * row['theirs']:.1f} %{budget} | {'yes' if row['agrees'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def main(options):
    warnings.simplefilter("ignore")  # the peers' own
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        bench.prepare(folder, options)
        with np.load(folder / "attack.npz") as arrays:
            data = tuple(arrays[part] for part in ("x", "y", "mask"))
        rows = []
        for name in ("natural", "LAT"):
            model = keras.saving.load_model(folder / f"{name}.keras")
            for pair in pairs(options.eps, options.eps_l2, options.steps, options.queries):
                rows.append({"model": name} | compare(model, data, pair, options.seeds))
                print(f"{name}: {pair[1]} and {pair[2]} done", file=sys.stderr, flush=True)
    table = markdown(rows, options)
    print(table)
    if options.out:
        options.out.write_text(table, encoding="utf-8")
    return int(not all(row["agrees"] for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="mnist", help="a grey 28x28 set (default: mnist; digits needs no data)")
    parser.add_argument("--images", type=int, default=500, help="attacked images (default: 500)")
    parser.add_argument("--train-images", type=int, default=10_000, help="images that the models are made with")
    parser.add_argument("--training-images", type=int, default=128, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=3, help="epochs that the models are made with (default: 3)")
    parser.add_argument("--eps", type=float, default=0.15, help="budget in pixel units (default: 0.15)")
    parser.add_argument("--eps-l2", type=float, default=1.5, help="budget of the L2 attacks (default: 1.5)")
    parser.add_argument("--steps", type=int, default=40, help="steps of PGD (default: 40)")
    parser.add_argument("--queries", type=int, default=500, help="queries of Square (default: 500)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each attack (default: 3)")
    parser.add_argument("--out", type=Path, help="file for the table")
    sys.exit(main(parser.parse_args()))
