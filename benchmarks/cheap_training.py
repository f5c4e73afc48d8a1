"""What cheaper localized adversarial training costs, and what it keeps: `python benchmarks/cheap_training.py --help`.

Two parts. *Accuracies*: every recipe starts from the same weights, sees the same images, and is attacked with PGD on
the background and on the full image, for several seeds. The recommendation is made on validation images; test images
are for the table. *Costs*: in one process the recipes take turns, an epoch each, round after round; a recipe's cost is
its processor time over natural training's in the same round (on a GPU: wall time), times its number of epochs over
natural training's. Processor time, as other work on the machine does not count in it.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import locadv_tf as la  # before keras: it keeps TensorFlow's start-up messages off the screen
from locadv_tf.data.batches import untuned

import keras  # isort: skip
import tensorflow as tf  # isort: skip

HERE = Path(__file__).resolve().parent
BATCH = 128
MOST_COST, LEAST_KEPT = 2.2, 0.97  # the goal: at most that cost, at least that share of PGD-5's robust accuracy
SETTINGS = {  # images: a multiple of the batch, so that all batches have one shape
    "digits": {"eps": 0.1, "images": 1152, "epochs": 20, "seeds": 3, "attacked_images": 400},
    "mnist": {"eps": 0.1, "images": 4096, "epochs": 20, "seeds": 3, "attacked_images": 1000},
    "cifar10": {"eps": 4 / 255, "images": 4096, "epochs": 8, "seeds": 3, "attacked_images": 500},
}
REFERENCE = "PGD-5"
COLOURS = {
    "natural": ("#000000", "o"), "PGD-5": ("#0072B2", "s"), "PGD-2": ("#56B4E9", "D"), "single step": ("#009E73", "P"),
    "single step, s = 3/4": ("#F0E442", "h"), "no random start": ("#D55E00", "v"),
    "free, m = 4": ("#E69F00", "^"), "free, m = 4, longer": ("#CC79A7", "X"),
    "reused": ("#777777", "*"), "AT, PGD-5": ("#882255", "p"),
}  # fmt: skip


class _Experiment(keras.Model):
    """What the two recipes below share: a classifier whose background is attacked in the first half of each batch."""

    passes_per_image = 1

    def __init__(self, classifier, eps):
        super().__init__()
        self.classifier, self.eps, self.half = classifier, eps, BATCH // 2
        self.built = True

    def call(self, image):
        return self.classifier(image)

    def attacked(self, inputs, delta):
        """The first half's images, changed by at most eps in the background, in [0, 1]."""
        image = inputs["image"][: self.half]
        moved = tf.clip_by_value(image + tf.clip_by_value(delta, -self.eps, self.eps), 0.0, 1.0)
        return tf.where(inputs["mask"][: self.half] > 0, moved, image)

    def descend(self, mixed, label):
        """One step downhill. Returns the loss, and its gradient with respect to the attacked images as well."""
        weights = self.classifier.trainable_weights
        with tf.GradientTape() as tape:
            tape.watch(mixed)
            logits = self.classifier(mixed, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits))
        uphill, *downhill = tape.gradient(loss, [mixed, *weights])
        self.optimizer.apply_gradients(zip(downhill, weights, strict=True))
        return loss, uphill[: self.half]


class FreeReplay(_Experiment):
    """ "Free" adversarial training (Shafahi et al. 2019, arXiv:1904.12843, algorithm 1).

    Each batch is trained on m times in a row; every backward pass yields the weights' and the images' gradient, and the
    perturbation lives on from pass to pass and into the next batch.
    """

    def __init__(self, classifier, eps, *, replays):
        super().__init__(classifier, eps)
        self.replays = self.passes_per_image = replays
        self.delta = self.add_weight(
            shape=(self.half, *classifier.input_shape[1:]), initializer="zeros", trainable=False
        )

    def train_step(self, data):
        inputs, label = data
        for _ in range(self.replays):
            mixed = tf.concat([self.attacked(inputs, self.delta), inputs["image"][self.half :]], axis=0)
            loss, uphill = self.descend(mixed, label)
            self.delta.assign(tf.clip_by_value(self.delta + self.eps * tf.sign(uphill), -self.eps, self.eps))
        return {"loss": loss}


class Reused(_Experiment):
    """Each image keeps its perturbation from epoch to epoch, one step further each time it is attacked.

    After Zheng et al. (2020, arXiv:1912.11969, ATTA-1); the data need not be mapped back, as they are not augmented.
    """

    passes_per_image = 1.5

    def __init__(self, classifier, eps, *, images, seed, step_size):
        super().__init__(classifier, eps)
        self.step_size = step_size
        start = keras.initializers.RandomUniform(-eps, eps, seed=seed)
        self.delta = self.add_weight(shape=(images, *classifier.input_shape[1:]), initializer=start, trainable=False)

    def train_step(self, data):
        inputs, label = data
        index = inputs["index"][: self.half]
        x = self.attacked(inputs, tf.gather(self.delta.value, index))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = self.classifier(x, training=False)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(label[: self.half], logits))
        image = inputs["image"][: self.half]
        x = self.attacked(inputs, x - image + self.step_size * tf.sign(tape.gradient(loss, x)))
        self.delta.value.scatter_update(tf.IndexedSlices(x - image, index))
        loss, _ = self.descend(tf.concat([x, inputs["image"][self.half :]], axis=0), label)
        return {"loss": loss}


def recipes(classifier, train, *, eps, seed):
    """Every recipe: a function that wraps a new classifier, and its share of natural training's epochs."""

    def lat(attack, share=0.5, name="LAT"):
        how = la.recipe(name, train, attack=attack, share=share, seed=seed)
        how = {argument: how[argument] for argument in ("attack", "region", "share", "seed")}
        return lambda: la.LocalizedAdversarialTraining(classifier(), **how)

    images = len(train)
    return {
        "natural": (lat(la.PGD(eps=eps, steps=5, keep="last"), name="natural"), 1),
        "PGD-5": (lat(la.PGD(eps=eps, steps=5, keep="last")), 1),
        "AT, PGD-5": (lat(la.PGD(eps=eps, steps=5, keep="last"), name="AT"), 1),
        "PGD-2": (lat(la.PGD(eps=eps, steps=2, keep="last")), 1),
        "single step": (lat(la.single_step(eps=eps)), 1),
        "single step, s = 3/4": (lat(la.single_step(eps=eps), share=0.75), 1),
        "no random start": (lat(la.FGSM(eps=eps)), 1),
        "free, m = 4": (lambda: FreeReplay(classifier(), eps, replays=4), 1 / 4),
        "free, m = 4, longer": (lambda: FreeReplay(classifier(), eps, replays=4), 1 / 2),
        "reused": (lambda: Reused(classifier(), eps, images=images, seed=seed, step_size=eps / 2), 1),
    }  # fmt: skip


def build(dataset, seed, setting, names):
    """The recipes of these names, ready to train: name to `(model, its data, its epochs)`."""
    eps, images = setting["eps"], setting["images"]
    train = la.load_data(dataset, "train", limit=images, seed=seed)
    shape = tuple(train.element_spec[0]["image"].shape)

    def classifier():
        return (la.small_cnn if shape[-1] == 1 else la.colour_cnn)(shape, 10, seed=seed)

    numbered = train.enumerate().map(lambda i, element: ({**element[0], "index": i}, element[1])).cache()
    ready = {}
    for name, (wrap, share) in recipes(classifier, train, eps=eps, seed=seed).items():
        if name in names:
            model = wrap()
            own_loss = isinstance(model, _Experiment)
            model.compile(
                "adam", loss=None if own_loss else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            )
            data = untuned(numbered.shuffle(images, seed=seed).batch(BATCH, drop_remainder=True))
            ready[name] = model, data, max(1, round(setting["epochs"] * share))
    return ready


def accuracies(dataset, seed, setting, options):
    """Trains and attacks every recipe with one seed. Returns a row per recipe."""
    splits = {
        name: la.load_data(dataset, name, limit=setting["attacked_images"], seed=seed)
        for name in ("validation", "test")
    }
    attack = {"PGD": la.PGD(eps=setting["eps"], steps=options.steps)}
    rows = []
    for name, (model, data, epochs) in build(dataset, seed, setting, options.recipes).items():
        model.fit(data, shuffle=False, epochs=epochs, verbose=0)
        row = {"dataset": dataset, "recipe": name, "seed": seed}
        row["passes"] = model.passes_per_image * epochs / setting["epochs"]
        for split, images in splits.items():
            for found in la.evaluate(
                model.classifier, images, attack, regions=("background", "full"), seed=seed, stop="fooled"
            ):
                where = "natural" if found["region"] == "none" else found["region"]
                row |= {f"{split}_{where}": found["accuracy"], f"{split}_n": found["n"]}
        rows.append(row)
        told = [f"{key} {value:.3f}" for key, value in row.items() if isinstance(value, float)]
        print(f"{dataset}, seed {seed}, {name}: {', '.join(told)}", file=sys.stderr, flush=True)
    return rows


def costs(dataset, setting, names, options):
    """What these recipes, natural training among them, cost in each round, in natural trainings: `{name: [cost]}`."""
    clock = time.perf_counter if tf.config.list_physical_devices("GPU") else time.process_time
    ready = build(dataset, 0, setting | {"images": BATCH * options.rounds_batches}, names)
    found = {name: [] for name in ready}
    for i in range(options.rounds + 1):  # the first round compiles, and is not counted
        seconds = {}
        for name, (model, data, _) in ready.items():
            started = clock()
            model.fit(data, shuffle=False, verbose=0)
            seconds[name] = clock() - started
        for name, (_, _, epochs) in ready.items():
            if i:
                found[name].append(seconds[name] / seconds["natural"] * epochs / setting["epochs"])
        print(f"{dataset}: round {i} of costs", file=sys.stderr, flush=True)
    return found


def summarize(results):
    """Per data set and recipe the mean over seeds and the median cost, with lowest and highest, and what is kept.

    Args:
        results: dictionary from a data set's name to what its JSON file holds.

    Returns:
        A list of dictionaries; `kept_background` and `kept_full` are shares of the reference's accuracy, by seed;
        `good` says whether cost and validation accuracies meet the goal.
    """
    rows = [row for result in results.values() for row in result["rows"]]
    reference = {(row["dataset"], row["seed"]): row for row in rows if row["recipe"] == REFERENCE}
    summary = []
    pairs = {(row["dataset"], row["recipe"]) for row in rows}
    for dataset, recipe in (pair for pair in itertools.product(results, COLOURS) if pair in pairs):
        mine = [row for row in rows if (row["dataset"], row["recipe"]) == (dataset, recipe)]
        line = {"dataset": dataset, "recipe": recipe, "seeds": len(mine), "passes": mine[0]["passes"]}
        rounds = results[dataset]["costs"][recipe]
        line |= {"cost": statistics.median(rounds), "cost_low": min(rounds), "cost_high": max(rounds)}
        columns = {}
        for split in ("validation", "test"):
            for where in ("natural", "background", "full"):
                columns[f"{split}_{where}"] = [row[f"{split}_{where}"] for row in mine]
            for where in ("background", "full"):
                bases = [reference[dataset, row["seed"]][f"{split}_{where}"] for row in mine]
                columns[f"{split}_kept_{where}"] = [
                    row[f"{split}_{where}"] / base if base else float("nan")
                    for row, base in zip(mine, bases, strict=True)
                ]
        for name, values in columns.items():
            line |= {name: statistics.mean(values), f"{name}_low": min(values), f"{name}_high": max(values)}
        kept = min(line["validation_kept_background"], line["validation_kept_full"])
        line["good"] = line["cost"] <= MOST_COST and kept >= LEAST_KEPT
        summary.append(line)
    return summary


def complete(result):
    """Whether a file's parts suffice for the table."""
    recipes = {row["recipe"] for row in result.get("rows", ())}
    return {"natural", REFERENCE} <= recipes <= set(result.get("costs", ()))


def recommend(summary):
    """The cheapest recipe that meets the goal on the validation images of every data set, or None."""
    costs = {}
    for line in summary:
        costs.setdefault(line["recipe"], []).append(line["cost"] if line["good"] else float("inf"))
    best = min(costs, key=lambda recipe: max(costs[recipe]))
    return best if max(costs[best]) < float("inf") else None


def markdown(results):
    """The table as Markdown.

    Args:
        results: dictionary from a data set's name to what its JSON file holds.
    """
    summary = summarize(results)
    chosen = recommend(summary)
    told = f"**{chosen}** is the cheapest that meets the goal" if chosen else "none meets the goal"
    lines = [
        "# Cheaper localized adversarial training",
        "",
        "`python benchmarks/cheap_training.py`. LAT with s = 1/2, unless it says otherwise. *Passes* and *cost* are "
        "multiples of natural training's: forward and backward passes, and measured time (processor time without a "
        "GPU; median over rounds [lowest, highest]); times its epochs, they are counted in natural epochs. "
        f"*Kept*: share of {REFERENCE}'s accuracy, seed by seed. Means over seeds [lowest, highest], on test images. "
        f"Goal: at most {MOST_COST} × the cost, at least {100 * LEAST_KEPT:.0f} % kept on background and full image. "
        f"On the validation images of {' and '.join(results)}, {told}.",
    ]
    for dataset, result in results.items():
        about = result["about"]
        mine = [line for line in summary if line["dataset"] == dataset]
        n = result["rows"][0]["test_n"]
        lines += [
            "",
            f"## {dataset}",
            "",
            f"{mine[0]['seeds']} seeds, {about['images']:,} training images, {about['epochs']} epochs, eps "
            f"{la.eps_255(about['eps'])}, PGD-{about['steps']} on {n:,} test images. "
            f"Costs on {result['machine']}.",
            "",
            "| training | passes | cost | natural (%) | background (%) | full (%) | kept, background (%) "
            "| kept, full (%) | goal met in validation |",
            "|---" * 9 + "|",
        ]
        for line in mine:
            cells = [_cell(line, "cost", 1, 2)]
            cells += [_cell(line, f"test_{where}", 100, 1) for where in ("natural", "background", "full")]
            cells += [_cell(line, f"test_kept_{where}", 100, 1) for where in ("background", "full")]
            good = "yes" if line["good"] else "no"
            lines.append(f"| {line['recipe']} | {line['passes']:.4g} | {' | '.join(cells)} | {good} |")
    return "\n".join(lines) + "\n"


def _cell(line, name, scale, digits):
    mean, low, high = (f"{scale * line[name + end]:.{digits}f}" for end in ("", "_low", "_high"))
    return f"{mean} [{low}, {high}]"


def figure(results):
    """Accuracy against cost: a row of panels per data set, a column per region."""
    from matplotlib.figure import Figure

    summary = summarize(results)
    sheet = Figure(figsize=(9, 0.6 + 3.1 * len(results)), layout="constrained")
    axes = sheet.subplots(len(results), 2, squeeze=False, sharex=True)
    for line_of_axes, (dataset, result) in zip(axes, results.items(), strict=True):
        mine = [line for line in summary if line["dataset"] == dataset]
        reference = next(line for line in mine if line["recipe"] == REFERENCE)
        for axis, where in zip(line_of_axes, ("background", "full"), strict=True):
            key = f"test_{where}"
            least = 100 * LEAST_KEPT * reference[key]
            axis.axvline(MOST_COST, color="0.6", linestyle=":", zorder=0)
            axis.axhline(least, color="0.6", linestyle=":", zorder=0)
            for line in mine:
                colour, marker = COLOURS[line["recipe"]]
                y, x = 100 * line[key], line["cost"]
                spread = [[y - 100 * line[f"{key}_low"]], [100 * line[f"{key}_high"] - y]]
                across = [[x - line["cost_low"]], [line["cost_high"] - x]]
                axis.errorbar(
                    x, y, yerr=spread, xerr=across, color=colour, marker=marker, linestyle="", capsize=2,
                    markersize=8, markeredgecolor="0.2", markeredgewidth=0.6, label=line["recipe"],
                )  # fmt: skip
            axis.set_title(f"{dataset}, eps {la.eps_255(result['about']['eps'])}: {where} attack", fontsize=10)
            axis.set(ylabel="accuracy (%)")
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set(xlabel="cost (multiples of natural training)", xlim=(0, None))
    sheet.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    sheet.suptitle(
        f"Cost against robustness; dotted: {MOST_COST} × and {100 * LEAST_KEPT:.0f} % of {REFERENCE}. Points are means "
        "over seeds\n(costs: medians over rounds), whiskers reach to the lowest and the highest",
        fontsize=10,
    )
    return sheet


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=["mnist", "cifar10"], choices=list(SETTINGS), help="which")
    parser.add_argument("--seeds", type=int, help="how many seeds (default: 3)")
    parser.add_argument("--images", type=int, help="training images (default: the data set's, see SETTINGS)")
    parser.add_argument("--epochs", type=int, help="epochs of natural training (default: the data set's)")
    parser.add_argument("--attacked-images", type=int, help="of each of validation and test (default: the data set's)")
    parser.add_argument("--steps", type=int, default=20, help="steps of PGD in the evaluation (default: 20)")
    parser.add_argument("--recipes", nargs="+", default=list(COLOURS), choices=list(COLOURS), help="which (all)")
    parser.add_argument(
        "--parts", nargs="*", default=["accuracies", "costs"], choices=["accuracies", "costs"],
        help="what to compute anew (default: both; none: table and figure from the .json files in --out)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of the costs (default: 5)")
    parser.add_argument("--rounds-batches", type=int, default=16, help="batches of 128 in a round (default: 16)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for CHEAP_TRAINING.md, .json per set and .png")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(HERE))
    from bench import machine

    for dataset in options.datasets:
        asked = {name: getattr(options, name) for name in ("images", "epochs", "seeds", "attacked_images")}
        setting = SETTINGS[dataset] | {name: value for name, value in asked.items() if value is not None}
        path = options.out / f"cheap_training_{dataset}.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        if "accuracies" in options.parts:
            about = setting | {"steps": options.steps}
            if kept.get("about") != about:  # rows of another setting are none to compare with
                kept = {"about": about, "rows": []}
            kept["rows"] = [row for row in kept["rows"] if row["recipe"] not in options.recipes]
            for seed in range(setting["seeds"]):
                kept["rows"] += accuracies(dataset, seed, setting, options)
                path.write_text(json.dumps(kept, indent=1) + "\n")  # an interrupted run keeps its finished seeds
        if "costs" in options.parts:
            names = {"natural", *options.recipes, *(row["recipe"] for row in kept.get("rows", ()))}
            kept["costs"] = costs(dataset, setting, names, options)
            kept["machine"] = f"{machine()}; {la.describe_device()}; {time.strftime('%Y-%m-%d')}"
        path.write_text(json.dumps(kept, indent=1) + "\n")
    paths = {name: options.out / f"cheap_training_{name}.json" for name in SETTINGS}
    results = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    if any(not complete(result) for result in results.values()):
        print("no table yet: it needs both parts, natural training and PGD-5 among the recipes", file=sys.stderr)
        return
    table = markdown(results)
    (options.out / "CHEAP_TRAINING.md").write_text(table, encoding="utf-8")
    figure(results).savefig(options.out / "cheap_training.png", dpi=110)
    print(table)


if __name__ == "__main__":
    main()
