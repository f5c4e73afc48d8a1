"""What a GPU makes of the kit: `make bench-gpu`, or `python benchmarks/gpu.py --help`. Writes RESULTS_GPU.md.

Each part runs in a process of its own, with a time limit, and its lines are on disk at once: a part that fails or takes
too long costs no other. Parts that take long on a CPU are tiny there (`--anyway`).
"""

import argparse
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EPS, STEPS = 0.3, 20
FULL = {"images": 10_000, "batches": (128, 512, 2048), "training": 16_384, "epochs": 2, "checks": 512}
TINY = {"images": 64, "batches": (32, 64), "training": 256, "epochs": 1, "checks": 16}


def images(split, n):
    """MNIST as NumPy `(images, labels, masks)`, and its name; or discs of the label's size where there is no MNIST."""
    import numpy as np

    import locadv_tf as la

    try:
        return la.to_arrays(la.load_data("mnist", split, limit=n)), "MNIST"
    except Exception as missing:  # not on disk, and no network
        print(f"discs are drawn: {missing}", file=sys.stderr)
    label = np.arange(n) % 10
    middle = np.random.default_rng(split == "train").uniform(12, 16, (2, n, 1, 1))
    row, column = np.mgrid[:28, :28]
    disc = (row - middle[0]) ** 2 + (column - middle[1]) ** 2 < (2 + label[:, None, None]) ** 2
    disc = disc[..., None].astype(np.float32)
    return (0.8 * disc, label, disc), "drawn discs"


def trained(size):
    """The benchmark's model after a short natural training."""
    import bench
    import tensorflow as tf

    import locadv_tf as la

    (x, y, mask), _ = images("train", size["training"])
    model = bench.benchmark_model()
    data = tf.data.Dataset.from_tensor_slices(({"image": x, "mask": mask}, y))
    la.train_classifier(model, data, attack=la.PGD(eps=EPS), share=0.0, epochs=size["epochs"])
    return model


def timed(run, rounds=2):
    """Seconds of the first call, which compiles; the median of the next calls; and what `run` returned."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        outcome = run()
        seconds.append(time.perf_counter() - started)
    return seconds[0], statistics.median(seconds[1:]), outcome


def row(*cells):
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def head(*cells):
    return "\n" + row(*cells) + "\n" + "|---" * len(cells) + "|"


def reason(told, longest=1500):
    """The start of the last error in what a program printed: XLA's go on for pages."""
    at = [found.start() for found in re.finditer(r"^[\w.]*(Error|Exception)\b", told, re.MULTILINE)]
    return told[at[-1] :][:longest].strip() if at else told[-longest:].strip()


def machine(size):
    """the card, its driver and the versions"""
    import tensorflow as tf

    import locadv_tf as la

    build = tf.sysconfig.get_build_info()
    cuda = f"CUDA {build.get('cuda_version')}, cuDNN {build.get('cudnn_version')}"
    yield f"{la.describe_device()}; {os.cpu_count()} CPU cores. TensorFlow {tf.__version__}, made for {cuda}."
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    yield "\n`nvidia-smi`: " + _command(query)[1].strip()


def attack(size):
    """masked PGD-20 on a naturally trained model, beside the bare passes that it consists of"""
    import tensorflow as tf

    import locadv_tf as la
    from locadv_tf.attacks.losses import respond_with_gradient
    from locadv_tf.engine import stream

    model = trained(size)
    data, name = images("test", size["images"])
    (x, y, _), ordinary, made = data, stream.compiled_attack, {}

    def step_by_xla(*arguments):
        compiled = ordinary(*arguments)  # the same one for each run on a model
        xla = tf.function(compiled.advance, autograph=False, jit_compile=True)
        return compiled._replace(advance=made.setdefault(compiled.advance, xla))

    def compare(mode, stop, batch):
        stream.compiled_attack = step_by_xla if mode == "step by XLA" else ordinary
        if mode == "autoclustering":  # for the rest of this process
            tf.config.optimizer.set_jit("autoclustering")
        fresh = type(model).from_config(model.get_config())  # nothing is compiled for it yet
        fresh.set_weights(model.get_weights())
        pgd = la.PGD(eps=EPS, steps=STEPS)
        first, kit, result = timed(
            lambda: la.run_attack(fresh, data, pgd, stop=stop, batch_size=batch, keep_images=False)
        )
        xla = mode == "step by XLA"
        passes = tf.function(lambda x, y: respond_with_gradient(fresh, x, y), autograph=False, jit_compile=xla)
        forward = tf.function(lambda x: fresh(x, training=False), autograph=False)
        some = tf.constant(x[:batch]), tf.constant(y[:batch], tf.int64)

        def bare():
            for _ in range(max(1, round(result.gradient_evaluations / batch))):
                seen = passes(*some)
            for first in range(0, len(x), batch):
                logits = forward(x[first : first + batch])
            return float(seen.loss[0] + logits[0, 0])  # a GPU still computes when Python is through: wait for it

        floor = timed(bare)[1]
        robust = 100 * (1 - result.fooled.mean())
        return row(
            mode, stop, batch, f"{first:.2f}", f"{kit:.3f}", f"{floor:.3f}", f"{kit / floor:.2f}",
            f"{len(x) / kit:,.0f}", f"{robust:.2f} %",
        )  # fmt: skip

    yield f"{len(x):,} images ({name}), eps {EPS}, background. *Floor*: the bare passes. Seconds: the first call, " \
          "which compiles; then medians of two more."  # fmt: skip
    yield head("mode", "stop", "batch", "first call", "kit", "floor", "kit / floor", "images/s", "robust")
    for mode, stop in (("", "fooled"), ("", "worst"), ("step by XLA", "fooled"), ("autoclustering", "fooled")):
        for batch in size["batches"]:
            yield compare(mode, stop, batch)


def training(size):
    """`LocalizedAdversarialTraining.fit` with PGD-5, share 1/2, full image, on random images"""
    import keras
    import numpy as np
    import tensorflow as tf

    import locadv_tf as la

    yield head("model", "batch", "policy", "jit_compile", "first epoch (s)", "images/s", "loss")
    random, n = np.random.default_rng(0), size["training"] // 2
    for network, shape in ((la.small_cnn, (28, 28, 1)), (la.colour_cnn, (32, 32, 3))):
        x, y = random.random((n, *shape), np.float32), random.integers(0, 10, n)
        for jit, batch, policy in itertools.product((False, True), size["batches"][:2], ("float32", "mixed_float16")):
            keras.config.set_dtype_policy(policy)
            model = network(shape, 10)
            keras.config.set_dtype_policy("float32")
            pgd = la.PGD(eps=8 / 255, steps=5, keep="last")
            defended = la.LocalizedAdversarialTraining(model, attack=pgd, region="full")
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            defended.compile("adam", loss=loss, jit_compile=jit)
            data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch, drop_remainder=True).cache().prefetch(2)
            fit = defended.fit
            try:
                first, seconds, history = timed(lambda: fit(data, shuffle=False, verbose=0).history["loss"])  # noqa: B023
                found = f"{first:.2f}", f"{n // batch * batch / seconds:,.0f}", f"{history[-1]:.4f}"
            except tf.errors.OpError as error:  # XLA's, say
                found = "failed: " + " ".join(str(error).split())[:200], "", ""
            yield row(network.__name__, batch, policy, jit, *found)


def repeated(size):
    """two equal trainings and attacks, as TensorFlow comes"""
    import keras
    import numpy as np

    import locadv_tf as la

    (x, y, mask), _ = images("train", size["checks"])
    runs = []
    for _ in range(2):
        model = la.small_cnn((28, 28, 1), 10)
        defended = la.LocalizedAdversarialTraining(model, attack=la.PGD(eps=EPS, steps=5, keep="last"))
        defended.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        started = time.perf_counter()
        defended.fit({"image": x, "mask": mask}, y, batch_size=64, epochs=4, shuffle=False, verbose=0)
        seconds = time.perf_counter() - started
        result = la.run_attack(model, (x, y, mask), la.PGD(eps=EPS, steps=STEPS), stop="worst")
        runs.append((np.concatenate([w.ravel() for w in model.get_weights()]), result.images, result.fooled))
    weights, attacked, fooled = (a != b for a, b in zip(*runs, strict=True))
    yield f"Different: {weights.sum():,} of {weights.size:,} weights (by {np.abs(runs[0][0] - runs[1][0]).max():.2g} " \
          f"at most), {attacked.any(axis=(1, 2, 3)).sum()} of {len(x)} attacked images, {fooled.sum()} verdicts. The " \
          f"second training took {seconds:.1f} s."  # fmt: skip


def deterministic(size):
    """the same with `tf.config.experimental.enable_op_determinism()`"""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    yield from repeated(size)


def tf32(size):
    """what TF32 and the batch size change, and what `la.verdicts` says"""
    import numpy as np
    import tensorflow as tf

    import locadv_tf as la

    model, ((x, y, mask), _) = trained(size), images("test", size["checks"])
    pgd = la.PGD(eps=EPS / 3, steps=STEPS)
    logits, fooled = {}, {}
    for on in ("off", "on"):
        tf.config.experimental.enable_tensor_float_32_execution(on == "on")
        logits[on] = model(x, training=False).numpy()
        for batch in size["batches"]:
            fooled[on, batch] = la.run_attack(model, (x, y, mask), pgd, batch_size=batch).fooled
        rows = la.verdicts.check(model, (x[:128], y[:128], mask[:128]), pgd)
        yield f"- TF32 {on}: {np.mean(fooled[on, batch]):.1%} fooled. {la.verdicts.headline(rows)}"
    yield f"- Largest difference of logits, TF32 on or off: {np.abs(logits['on'] - logits['off']).max():.2g}, of " \
          f"{np.abs(logits['off']).max():.1f}."  # fmt: skip
    first = fooled["off", size["batches"][0]]
    others = (f"{on}, {batch}: {np.sum(verdicts != first)}" for (on, batch), verdicts in fooled.items())
    yield f"- Verdicts of {len(x)} that differ from the first (TF32, batch): {'; '.join(others)}."


def benchmark(size):
    """`locadv bench`: the bars are those of two CPU cores"""
    suites = ["--suites", "masked", "full", "lat", "training", "training-cnn", "memory"]
    tiny = {"suites": "masked", "dataset": "digits", "rounds": 1, "images": 64, "train-images": 128, "epochs": 1}
    options = [f"--{name}={value}" for name, value in tiny.items()] if size is TINY else suites
    with tempfile.TemporaryDirectory() as folder:
        code, told = _command([sys.executable, HERE / "bench.py", *options, "--out", folder])
        table = Path(folder) / "RESULTS.md"
        yield table.read_text(encoding="utf-8").replace("# ", "## ") if table.exists() else _block(reason(told))
    yield f"Exit status {code} (1: a bar was missed, or an error)."


def tests(size):
    """those of the attacks and the engine"""
    folders = ["tests/attacks/test_balls.py"] if size is TINY else ["tests/attacks", "tests/engine"]
    workers = ["-n", "4"] if (os.cpu_count() or 1) >= 8 else []
    command = ["-m", "pytest", *folders, "-q", "-p", "no:cacheprovider", "--tb=line", "-rfE", *workers]
    code, told = _command([sys.executable, *command])
    lines = [line for line in told.splitlines() if re.match(r"FAILED|ERROR|=* ?\d+ (passed|failed)", line)]
    yield _block("\n".join(lines or told.splitlines()[-5:])) + f"\nExit status {code}."


def report(size):
    """`locadv report --dataset digits --profile smoke`"""
    with tempfile.TemporaryDirectory() as folder:
        command = [HERE.parent / "locadv.py", "report", "--dataset", "digits", "--profile", "smoke", "--out"]
        code, told = _command([sys.executable, *command, Path(folder) / "report"])
    lines = [line for line in told.splitlines() if not line.startswith("Executing:")]
    yield _block(reason(told) if code else "\n".join(lines[-5:])) + f"\nExit status {code}."


def _command(arguments):
    try:
        done = subprocess.run(arguments, cwd=HERE.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout


def _block(text):
    return f"```\n{text}\n```\n"


PARTS = (machine, attack, training, repeated, deterministic, tf32, benchmark, tests, report)


def write(parts, size, limit, file):
    """Each part in a process of its own, one after the other."""
    for part in parts:
        file.write(f"\n## {part.__name__.capitalize().replace('Tf', 'TF')}: {part.__doc__}\n\n")
        file.flush()
        command = [sys.executable, __file__, "--here", "--anyway", "--parts", part.__name__]
        started = time.perf_counter()
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            try:
                done = subprocess.run(command, stdout=file, stderr=errors, timeout=limit)
                errors.seek(0)
                trouble = f"\nFailed:\n\n{_block(reason(errors.read()))}" if done.returncode else ""
            except subprocess.TimeoutExpired:
                trouble = f"\nStopped after {limit:.0f} s.\n"
        file.seek(0, os.SEEK_END)
        file.write(trouble)
        print(f"{part.__name__}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = {part.__name__: part for part in PARTS}
    parser.add_argument("--parts", nargs="+", choices=names, default=list(names), help="which (default: all)")
    parser.add_argument("--anyway", action="store_true", help="without a GPU: tiny sizes, to try the script itself")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for each part (default: 1800)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for RESULTS_GPU.md")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process, to the screen
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several processes share the card
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    import locadv_tf as la

    gpu = la.describe_device().startswith("GPU")
    if not gpu and not options.anyway:
        print("no GPU: TensorFlow finds none, so nothing was run; --anyway tries the script here.", file=sys.stderr)
        return 2
    size, parts = FULL if gpu else TINY, [names[name] for name in options.parts]
    if options.here:
        for line in (line for part in parts for line in part(size)):
            print(line, flush=True)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "RESULTS_GPU.md", "w", encoding="utf-8") as file:
        title = "# On a GPU" if gpu else "no GPU: a try of `make bench-gpu` on a CPU, with tiny sizes"
        file.write(f"{title}\n\nWritten by `make bench-gpu`, {time.strftime('%Y-%m-%d')}.\n")
        write(parts, size, options.limit, file)
    print((options.out / "RESULTS_GPU.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
