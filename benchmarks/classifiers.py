"""Classifiers that can see, and what training them costs: `python benchmarks/classifiers.py --help`.

Three parts. *cifar10*: `residual_cnn` on all of CIFAR-10, naturally, with single-step LAT, and with PGD-5; each is
timed, and attacked with `LocalizedAutoAttack` on the background. *caltech10_outlines*: photographs of unequal classes,
with class weights; balanced accuracy. *rate*: how fast a pretrained backbone is attacked at 224×224.

Settings are chosen with `--split validation`: trained without the validation images, judged by them. With the default,
`--split test`, they train, too.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import locadv_tf as la  # before keras: it keeps TensorFlow's start-up messages off the screen

import numpy as np  # isort: skip

HERE = Path(__file__).resolve().parent
EPS = 4 / 255
SETTINGS = {
    "cifar10": {"width": 32, "depth": 1, "epochs": 24, "batch_size": 128, "image_size": None, "class_weight": None},
    "caltech10_outlines": {
        "width": 24, "depth": 1, "epochs": 50, "batch_size": 32, "image_size": (64, 64), "class_weight": "balanced",
    },
}  # fmt: skip
PGD_5 = la.PGD(eps=EPS, steps=5, keep="last")
TRAINED = {  # a name of `la.TRAININGS`, the attack, the share
    "natural": ("natural", PGD_5, 0.5),
    "LAT, single step": ("LAT", la.single_step(eps=EPS), 0.75),
    "LAT, PGD-5": ("LAT", PGD_5, 0.5),
}
# Minutes on two cores, times natural training's, accuracies.
MOST_MINUTES = {"cifar10": 20, "caltech10_outlines": 10}
LEAST_ACCURACY = {"cifar10": 0.86, "caltech10_outlines": 0.87}
MOST_COST, MOST_BELOW = 1.8, 0.01


def load(dataset, split, setting, limit=None):
    """The training images (with those of validation, if the test images judge) and the images to judge by."""
    size = {"image_size": setting["image_size"]}
    train = la.load_data(dataset, "train", limit=limit, stratify=limit is not None, **size)
    if split == "test" and limit is None:
        train = train.concatenate(la.load_data(dataset, "validation", **size))
    return train, la.load_data(dataset, split, **size)


def train(dataset, name, data, setting, seed):
    """A classifier and the seconds of its training, reading the data included."""
    training, attack, share = TRAINED[name]
    shape = tuple(data.element_spec[0]["image"].shape)
    model = la.residual_cnn(
        shape, len(la.class_names(dataset)), width=setting["width"], depth=setting["depth"], seed=seed
    )
    started = time.perf_counter()
    how = la.recipe(training, data, attack=attack, share=share, epochs=setting["epochs"], seed=seed)
    la.train_classifier(
        model, **how, batch_size=setting["batch_size"], optimizer="adamw", augment=la.flip_and_shift,
        class_weight=setting["class_weight"], verbose=2,
    )  # fmt: skip
    return model, time.perf_counter() - started


def accuracies(model, data):
    """Accuracy, and the mean over the classes of each class's accuracy."""
    image, label, _ = la.to_arrays(data)
    right = model.predict(image, batch_size=500, verbose=0).argmax(axis=-1) == label
    by_class = [right[label == each].mean() for each in np.unique(label)]
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(by_class)), "n": len(label)}


def classifier_rows(dataset, options, kept, keep):
    """Trains and judges what `kept` has no row of yet; after each training `keep` gets all rows."""
    setting = SETTINGS[dataset] | ({} if options.epochs is None else {"epochs": options.epochs})
    about = {
        **setting, "images": options.images, "split": options.split, "seed": options.seed,
        "attacked_images": options.attacked_images,
    }  # fmt: skip
    about = json.loads(json.dumps(about))  # as it reads from a file
    rows = kept["rows"] if kept.get("about") == about else []
    wanted = [name for name in options.trainings if dataset == "cifar10" or name == "natural"]
    if {row["training"] for row in rows} >= set(wanted):
        return
    images, judges = load(dataset, options.split, setting, options.images)
    for name in wanted:
        if name in {row["training"] for row in rows}:
            continue
        model, seconds = train(dataset, name, images, setting, options.seed)
        row = {"training": name, "images": len(images), "seconds": seconds} | accuracies(model, judges)
        if dataset == "cifar10":
            few = la.to_arrays(judges.take(options.attacked_images))
            strong = la.LocalizedAutoAttack(eps=EPS, budget="fast")
            result = la.run_attack(model, few, strong, region="background", seed=options.seed, keep_images=False)
            row |= {"background": float(1 - result.fooled.mean()), "attacked": len(result)}
        rows.append(row)
        keep({"about": about, "rows": rows})
        print(f"{dataset}: {row}", file=sys.stderr, flush=True)


def rate():
    """Images per second of PGD-5 on the whole of 32 images of 224×224, on MobileNetV2; the first run compiles."""
    model = la.pretrained("MobileNetV2", (224, 224, 3), 10, weights=None)
    images = np.random.default_rng(0).random((32, 224, 224, 3), np.float32)
    data = images, np.arange(32) % 10, np.ones((32, 224, 224, 1), np.float32)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        result = la.run_attack(model, data, PGD_5, region="full", stop="worst", keep_images=False, batch_size=32)
        seconds.append(time.perf_counter() - started)
    return {"first_seconds": seconds[0], "seconds": seconds[1], "gradients": result.gradient_evaluations}


def bars(dataset, rows):
    """What the goals say of a data set's rows: `[(goal, found, met)]`."""
    by_name, found = {row["training"]: row for row in rows}, []
    if natural := by_name.get("natural"):
        minutes, most = natural["seconds"] / 60, MOST_MINUTES[dataset]
        found.append((f"natural training in at most {most} minutes", f"{minutes:.1f}", minutes <= most))
        kind = "balanced_accuracy" if dataset == "caltech10_outlines" else "accuracy"
        least = LEAST_ACCURACY[dataset]
        goal = f"{kind.replace('_', ' ')} of natural training at least {100 * least:.0f} %"
        found.append((goal, f"{100 * natural[kind]:.1f} %", natural[kind] >= least))
    if natural and (single := by_name.get("LAT, single step")):
        cost = single["seconds"] / natural["seconds"]
        found.append((f"single-step LAT at most {MOST_COST} times natural training", f"{cost:.2f}", cost <= MOST_COST))
    if {"LAT, single step", "LAT, PGD-5"} <= set(by_name):
        below = by_name["LAT, PGD-5"]["background"] - by_name["LAT, single step"]["background"]
        goal = "single-step LAT under attack at most one point below LAT with PGD-5"
        found.append((goal, f"{100 * -below:+.1f} points", below <= MOST_BELOW + 1e-9))
    return found


def markdown(results):
    """The tables."""
    lines = [
        "# Classifiers", "",
        "`python benchmarks/classifiers.py`. `residual_cnn`, AdamW with cosine and averaged weights, flips and "
        "shifts. One seed. Minutes are of the training alone, on the machine named.",
    ]  # fmt: skip
    for dataset in SETTINGS:
        if dataset not in results:
            continue
        about, rows = results[dataset]["about"], results[dataset]["rows"]
        lines += [
            "", f"## {dataset}", "",
            f"Width {about['width']}, depth {about['depth']}, {about['epochs']} epochs, batches of "
            f"{about['batch_size']}, seed {about['seed']}, {rows[0]['images']:,} training images, judged by "
            f"{rows[0]['n']:,} {about['split']} images. {results[dataset]['machine']}.", "",
            "| training | minutes | accuracy | balanced accuracy | under LocalizedAutoAttack (fast), background, "
            f"{la.eps_255(EPS)} | attacked |", "|---" * 6 + "|",
        ]  # fmt: skip
        for row in rows:
            under = f"{100 * row['background']:.1f} % | {row['attacked']:,}" if "background" in row else "– | –"
            lines.append(
                f"| {row['training']} | {row['seconds'] / 60:.1f} | {100 * row['accuracy']:.1f} % "
                f"| {100 * row['balanced_accuracy']:.1f} % | {under} |"
            )
        lines += ["", "| goal | found | met |", "|---|---|---|"]
        lines += [f"| {goal} | {found} | {'yes' if met else '**no**'} |" for goal, found, met in bars(dataset, rows)]
    if "rate" in results:
        row = results["rate"]
        lines += [
            "", "## MobileNetV2 at 224×224", "",
            f"`run_attack` with PGD-5 on 32 images: {32 / row['seconds']:.2f} images/s, "
            f"{row['gradients'] / row['seconds']:.1f} gradients/s; the first run, which compiles, took "
            f"{row['first_seconds']:.0f} s. {row['machine']}.",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = [*SETTINGS, "rate"]
    parser.add_argument("--parts", nargs="*", default=parts, choices=parts, help="which (all); none: the tables alone")
    parser.add_argument("--trainings", nargs="+", default=list(TRAINED), choices=list(TRAINED), help="which (all)")
    parser.add_argument("--split", default="test", choices=["validation", "test"], help="what judges (default: test)")
    parser.add_argument("--images", type=int, help="training images (default: all)")
    parser.add_argument("--epochs", type=int, help="of each training (default: the data set's, see SETTINGS)")
    parser.add_argument("--attacked-images", type=int, default=1000, help="of CIFAR-10 (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for CLASSIFIERS.md and classifiers.json")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(HERE))
    from bench import machine

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "classifiers.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    here = {"machine": f"{machine()}; {la.describe_device()}; {time.strftime('%Y-%m-%d')}"}

    def keep(part, found):
        results[part] = found | here
        path.write_text(json.dumps(results, indent=1) + "\n")  # an interrupted run keeps its finished trainings

    for part in options.parts:
        if part == "rate":
            keep(part, rate())
        else:
            classifier_rows(part, options, results.get(part, {}), lambda found, part=part: keep(part, found))
    table = markdown(results)
    (options.out / "CLASSIFIERS.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
