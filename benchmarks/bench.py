"""The kit and its peers, side by side in one run: `locadv bench`, or `python benchmarks/bench.py --help`.

One process per contestant, all alive at once, taking turns: round after round, one at a time, so that a machine whose
speed drifts slows all of them alike. Medians with minimum and maximum; the first round warms up and is not counted.
Robust accuracies must agree within a point before a time is printed: a fast wrong attack is a failure.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
AUTOATTACK_BAR = 200  # seconds, two cores, 1,000 images
MANY, MEMORY_BAR = 10_000, 100  # images; MB that evaluating them may take beyond one batch
AGREE = 0.01  # robust accuracies may differ by this much, random starts being others in each library

# Contestants (the first is the kit; its floor comes right after it, before the machine changes its speed), the model,
# the region, and the bars: how many times slower than the kit a contestant is to be at least, and how many times
# faster than the kit its floor may be at most.
SUITES = {
    "masked": {
        "title": "masked attack, natural model",
        "contestants": ("attack_kit", "floor_attack", "attack_plain", "attack_art"),
        "model": "natural", "region": "background", "bars": {"attack_art": 7.5}, "floor": 1.15,
    },
    "few": {
        "title": "calls for 16 images each, natural model",
        "contestants": ("few_kit", "floor_few"),
        "model": "natural", "region": "background", "bars": {}, "floor": 1.5,
    },
    "full": {
        "title": "full attack, natural model",
        "contestants": ("attack_kit", "floor_attack", "attack_plain", "attack_foolbox", "attack_cleverhans"),
        "model": "natural", "region": "full", "bars": {"attack_foolbox": 4, "attack_cleverhans": 3},
    },
    "lat": {
        "title": "masked attack, LAT model",
        "contestants": ("attack_kit", "floor_attack", "attack_plain", "attack_art"),
        "model": "LAT", "region": "background", "bars": {"attack_art": 1.5, "attack_plain": 1}, "floor": 1.08,
    },
    "training": {
        "title": "training the kit's small_cnn with PGD-5 on the whole batch",
        "contestants": ("train_kit", "floor_train", "train_art", "train_art_compiled"),
        "model": "small_cnn", "region": "full", "bars": {"train_art": 18, "train_art_compiled": 12}, "floor": 1.05,
    },
    "training-cnn": {
        "title": "training the CNN of the attacks with PGD-5 on the whole batch",
        "contestants": ("train_kit", "floor_train", "train_art", "train_art_compiled"),
        "model": "natural", "region": "full", "bars": {"train_art": 18, "train_art_compiled": 12}, "floor": 1.05,
    },
}  # fmt: skip


def benchmark_model(seed=0):
    """The classifier of the benchmark: two convolutions with pooling and a dense layer, as in many tutorials."""
    import keras

    init = keras.initializers.HeNormal
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu", kernel_initializer=init(seed)),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu", kernel_initializer=init(seed + 1)),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu", kernel_initializer=init(seed + 2)),
            keras.layers.Dense(10, kernel_initializer=init(seed + 3)),
        ]
    )


def prepare(folder, options):
    """Trains the two models and keeps them with the test images, in a process of its own."""
    import numpy as np

    import locadv_tf as la

    train = la.load_data(options.dataset, "train", limit=options.train_images)
    for name, data in {
        "attack": la.load_data(options.dataset, "test", limit=options.images),
        "train": train.take(options.training_images),
    }.items():
        np.savez(folder / f"{name}.npz", **dict(zip(("x", "y", "mask"), la.to_arrays(data), strict=True)))
    attack = la.PGD(eps=options.eps, steps=5, keep="last")
    for name, share in (("natural", 0.0), ("LAT", 0.5)):
        model = benchmark_model()
        la.train_classifier(model, train, attack=attack, share=share, epochs=options.epochs)
        model.save(folder / f"{name}.keras")
    model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
    model.save(folder / "small_cnn.keras")
    la.train_classifier(model, train, attack=attack, share=0.5, epochs=options.epochs)
    model.save(folder / "LAT small_cnn.keras")


def serve(connection, name, suite, folder, options):
    """A contestant's process: makes itself ready, then runs a round whenever it is asked to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import warnings

    import numpy as np

    import locadv_tf as la  # before keras: it keeps TensorFlow's start-up messages off the screen

    warnings.simplefilter("ignore")  # the peers' own
    import keras

    sys.path.insert(0, str(HERE))
    import contestants

    with np.load(folder / f"{'train' if 'train' in name else 'attack'}.npz") as arrays:
        x, y, mask = (arrays[part] for part in ("x", "y", "mask"))
    task = {
        "model": keras.saving.load_model(folder / f"{suite['model']}.keras"),
        "data": (x, y, mask),
        "region": suite["region"],
        "eps": options.eps,
        "steps": options.steps,
        "train_steps": 5,
        "alpha": 2.5 * options.eps / options.steps,
    }
    try:
        run = getattr(contestants, name)(task)
    except ImportError as missing:
        connection.send({"missing": str(missing)})
        return
    connection.send({"device": la.describe_device()})
    while connection.recv() == "run":
        started = time.perf_counter()
        outcome = run()
        seconds = time.perf_counter() - started
        connection.send({"seconds": seconds, **_verdict(task["model"], x, y, outcome)})


def _verdict(model, x, y, outcome):
    import numpy as np

    told = {name: value for name, value in outcome.items() if name not in ("images", "fooled")}
    wrong = outcome.get("fooled")
    if "images" in outcome:
        natural, attacked = (model.predict(images, batch_size=500, verbose=0) for images in (x, outcome["images"]))
        wrong = (natural.argmax(axis=-1) != y) | (attacked.argmax(axis=-1) != y)
    return told if wrong is None else told | {"robust_accuracy": float(1 - np.mean(wrong))}


def peak_memory(connection, images, folder, options):
    """In a process of its own: its peak memory in MB after it evaluated the benchmark's model on so many images."""
    import resource
    import warnings

    import locadv_tf as la

    warnings.simplefilter("ignore")
    import keras

    model = keras.saving.load_model(folder / "natural.keras")
    data = la.load_data(options.dataset, "test", limit=images)
    rows = la.evaluate(model, data, {"PGD-2": la.PGD(eps=options.eps, steps=2)}, regions=["background"])
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB elsewhere
    connection.send((rows[0]["n"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6))


def memory_rows(folder, options):
    """What evaluating many images takes in memory beyond one batch of them."""
    context, rows = multiprocessing.get_context("spawn"), []
    for images in (128, MANY):
        ours, theirs = context.Pipe()
        process = context.Process(target=peak_memory, args=(theirs, images, folder, options))
        process.start()
        n, peak = ours.recv()
        process.join()
        rows.append({"suite": "memory", "contestant": f"evaluate, {n:,} images", "megabytes": peak})
    more = rows[1]["megabytes"] - rows[0]["megabytes"]
    rows[1] |= {"more": more, "bar": f"at most {MEMORY_BAR} MB more", "met": more <= MEMORY_BAR}
    return rows


def autoattack(connection, folder, options):
    """In a process of its own: the standard `LocalizedAutoAttack` on the background of a LAT-trained small_cnn."""
    import numpy as np

    import locadv_tf as la

    import keras  # isort: skip

    with np.load(folder / "attack.npz") as arrays:
        data = tuple(arrays[part] for part in ("x", "y", "mask"))
    model = keras.saving.load_model(folder / "LAT small_cnn.keras")
    started = time.perf_counter()
    result = la.run_attack(model, data, la.LocalizedAutoAttack(eps=options.eps), keep_images=False)
    connection.send((time.perf_counter() - started, float(1 - result.fooled.mean()), len(result)))


def autoattack_rows(folder, options):
    """What the strongest attack takes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=autoattack, args=(theirs, folder, options))
    process.start()
    seconds, robust, n = ours.recv()
    process.join()
    row = {"suite": "autoattack", "contestant": f"LocalizedAutoAttack (standard), {n:,} images", "seconds": seconds}
    return [row | {"robust_accuracy": robust, "bar": f"at most {AUTOATTACK_BAR} s", "met": seconds <= AUTOATTACK_BAR}]


def run_suite(suite, folder, options):
    """All rounds of one suite, the contestants in turn. Returns their rows."""
    title, context = suite["title"], multiprocessing.get_context("spawn")
    servers, rounds, device = {}, {}, None
    for name in suite["contestants"]:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, name, suite, folder, options), daemon=True)
        process.start()
        told = ours.recv()
        if "missing" in told:
            print(f"{title}: {name} is left out, {told['missing']}; install the extra 'peers'", file=sys.stderr)
            continue
        servers[name], rounds[name], device = ours, [], told["device"]
    for i in range(options.rounds + 1):
        for name, connection in servers.items():
            connection.send("run")
            outcome = connection.recv()
            print(f"{title}: round {i}, {name}: {outcome['seconds']:.2f} s", file=sys.stderr, flush=True)
            if i:
                rounds[name].append(outcome)
    for connection in servers.values():
        connection.send("stop")
    return [_row(suite, name, rounds) | {"device": device} for name in rounds]


ALONE = {"autoattack": autoattack_rows, "memory": memory_rows}  # suites in which the kit is by itself


def _row(suite, name, rounds):
    kit = rounds[suite["contestants"][0]]
    seconds = [outcome["seconds"] for outcome in rounds[name]]
    ratios = [theirs / ours["seconds"] for theirs, ours in zip(seconds, kit, strict=True)]
    row = {
        "suite": suite["title"],
        "contestant": name,
        "seconds": statistics.median(seconds),
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "ratio": statistics.median(ratios),  # to the kit's time, round by round
    }
    for key in ("robust_accuracy", "gradient_evaluations", "images_seen"):
        if key in rounds[name][0]:
            row[key] = statistics.median(outcome[key] for outcome in rounds[name])
    if "robust_accuracy" in row and abs(row["robust_accuracy"] - kit[0]["robust_accuracy"]) > AGREE:
        theirs, ours = (100 * accuracy for accuracy in (row["robust_accuracy"], kit[0]["robust_accuracy"]))
        raise SystemExit(
            f"{suite['title']}: {name} leaves {theirs:.1f} % robust and the kit {ours:.1f} %; they must agree within "
            f"{100 * AGREE:.0f} point before a time means anything."
        )
    if name in suite["bars"]:
        row["bar"], row["met"] = f"at least {suite['bars'][name]}", row["ratio"] >= suite["bars"][name]
    if name.startswith("floor") and "floor" in suite:
        row["bar"], row["met"] = f"at least {1 / suite['floor']:.2f}", row["ratio"] >= 1 / suite["floor"]
    return row


def machine():
    """The machine, in words: processor, cores, memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


def markdown(rows, about):
    """The table as Markdown."""
    lines = [
        "# Benchmark",
        "",
        f"`make bench` on {about['machine']} ({about['device']}); {about['images']:,} images of {about['dataset']}, "
        f"PGD-{about['steps']}, eps {255 * about['eps']:.3g}/255, {about['rounds']} rounds, {about['finished']}. "
        "Times are medians [minimum, maximum]; *ratio*: the contestant's time over the kit's, the median over rounds. "
        "A floor is not a contestant: the bare compiled passes that the work consists of, and nothing else.",
    ]
    for title in dict.fromkeys(row["suite"] for row in rows if row["suite"] not in ALONE):
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        lines += ["| contestant | seconds | ratio to the kit | robust accuracy | bar | met |", "|---" * 6 + "|"]
        for row in (row for row in rows if row["suite"] == title):
            seconds = f"{row['seconds']:.2f} [{row['seconds_min']:.2f}, {row['seconds_max']:.2f}]"
            robust = f"{100 * row['robust_accuracy']:.1f} %" if "robust_accuracy" in row else "–"
            bar = f"{row.get('bar', '')} | {({True: 'yes', False: 'no'}).get(row.get('met'), '')}"
            lines.append(f"| {row['contestant']} | {seconds} | {row['ratio']:.2f} | {robust} | {bar} |")
    for row in (row for row in rows if row["suite"] == "autoattack"):
        lines += ["", "## The strongest attack", "", f"{row['contestant']}, background of a LAT-trained `small_cnn`: "
                  f"{row['seconds']:.0f} s, robust accuracy {100 * row['robust_accuracy']:.1f} % (bar: {row['bar']}, "
                  f"{'met' if row['met'] else 'missed'})."]  # fmt: skip
    if memory := [row for row in rows if row["suite"] == "memory"]:
        lines += ["", "## Memory", "", "| | peak of the process (MB) | more (MB) | bar | met |", "|---" * 5 + "|"]
        for row in memory:
            more = f"{row['more']:.0f} | {row['bar']} | {'yes' if row['met'] else 'no'}" if "more" in row else " | | "
            lines.append(f"| {row['contestant']} | {row['megabytes']:.0f} | {more} |")
    return "\n".join(lines) + "\n"


def add_arguments(parser):
    """The options of `locadv bench`."""
    parser.add_argument("--dataset", default="mnist", help="a grey 28x28 set (default: mnist; digits needs no data)")
    parser.add_argument(
        "--suites", nargs="+", default=[*SUITES, *ALONE], choices=[*SUITES, *ALONE], help="which (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: 7)")
    parser.add_argument("--images", type=int, default=1000, help="attacked images (default: 1000)")
    parser.add_argument("--training-images", type=int, default=2048, help="images of a training round (default: 2048)")
    parser.add_argument("--train-images", type=int, default=20_000, help="images that the models are made with")
    parser.add_argument("--epochs", type=int, default=3, help="epochs that the models are made with (default: 3)")
    parser.add_argument("--eps", type=float, default=0.3, help="budget in pixel units (default: 0.3, as Madry et al.)")
    parser.add_argument("--steps", type=int, default=20, help="steps of PGD (default: 20)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for RESULTS.md, results.json and results.png")


def run(options):
    """Runs the suites; returns 0, or 1 if a bar was missed."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # the contestants share a GPU
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        maker = multiprocessing.get_context("spawn").Process(target=prepare, args=(folder, options))
        maker.start()
        maker.join()
        if maker.exitcode:
            return 1
        rows = []
        for name in options.suites:
            rows += ALONE[name](folder, options) if name in ALONE else run_suite(SUITES[name], folder, options)
    about = {name: value for name, value in vars(options).items() if name not in ("run", "out")}
    about |= {"machine": machine(), "device": rows[0].get("device", ""), "finished": time.strftime("%Y-%m-%d")}
    table = markdown(rows, about)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "RESULTS.md").write_text(table, encoding="utf-8")
    (options.out / "results.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    if not set(options.suites) <= set(ALONE):
        figure(rows).savefig(options.out / "results.png", dpi=110)
    print(table)
    return int(any(row.get("met") is False for row in rows))


def figure(rows):
    """Times as points with minimum and maximum, on one logarithmic scale, a panel per suite."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["suite"] not in ALONE]
    titles = list(dict.fromkeys(row["suite"] for row in rows))
    sheet = Figure(figsize=(8, 0.5 + 0.36 * (len(rows) + 2 * len(titles))), layout="constrained")
    heights = [sum(row["suite"] == title for row in rows) + 1 for title in titles]
    for axis, title in zip(
        sheet.subplots(len(titles), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0], titles, strict=True
    ):
        mine = [row for row in rows if row["suite"] == title][::-1]
        middle = [row["seconds"] for row in mine]
        spread = [
            [row["seconds"] - row["seconds_min"] for row in mine],
            [row["seconds_max"] - row["seconds"] for row in mine],
        ]
        names = [row["contestant"].removeprefix("attack_").removeprefix("train_").replace("_", " ") for row in mine]
        colours = ["#0072B2" if name == "kit" else "#777777" for name in names]
        for i, colour in enumerate(colours):
            axis.errorbar(middle[i], i, xerr=[[spread[0][i]], [spread[1][i]]], fmt="o", color=colour, capsize=3)
        axis.set(xscale="log", yticks=range(len(mine)), yticklabels=names, ylim=(-0.7, len(mine) - 0.3))
        axis.set_title(title, fontsize=10, loc="left")
        axis.grid(axis="x", alpha=0.3, which="both")
    axis.set_xlabel("seconds (log scale; points: median, whiskers: minimum and maximum)")
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
