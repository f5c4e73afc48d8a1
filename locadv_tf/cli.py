"""What the commands of `locadv` do; `locadv.py`, beside the package, says what they can be asked.

Each takes the parsed arguments and returns the exit status. An option that was not given and whose default belongs to a
module of the kit comes as None.
"""

import contextlib
import os
import shlex
import sys
from pathlib import Path

import papermill
import yaml

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.course import codes, compete, grader, publish, release
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.load import class_names, load_data
from locadv_tf.evaluation import challenge
from locadv_tf.models import colour_cnn, layer_count, load_classifier, small_cnn
from locadv_tf.playground.collection import collection, stored_models
from locadv_tf.playground.page import html_path, write_page
from locadv_tf.reports import (
    challenge_page,
    colab,
    collect,
    metrics,
    notebooks,
    photographs_page,
    report,
    slides,
    sweep,
    workers,
)
from locadv_tf.training.recipes import train_classifier
from locadv_tf.units import default_eps
from locadv_tf.verdicts import checklist

SURROGATE_IMAGES = 2000  # that the other model, which `check` crafts images on, is trained on
MANY_LAYERS = 500  # of a model that `check` announces; ResNet-152 has about that many


def _lessons(arguments):
    folder = notebooks.copy_lessons(arguments.to)
    print(f"Open them with: jupyter lab {shlex.quote(os.path.join(_shown(folder), '00_start_here.ipynb'))}")
    print(_shown(folder))
    return 0


def _report(arguments):
    given = _parameters(arguments) | ({} if arguments.eps is None else {"eps": arguments.eps})
    out = arguments.out or f"reports/{arguments.dataset.replace('/', '-')}"
    try:
        path = report.report(
            dataset=arguments.dataset, profile=arguments.profile, seed=arguments.seed, out=out, parameters=given
        )
    except report.KernelDied as problem:
        print(f"locadv: {problem}", file=sys.stderr)
        return 1
    except papermill.PapermillExecutionError as problem:
        print(f"{problem}\nlocadv: a cell failed; what was done until then is in {out}/report.ipynb", file=sys.stderr)
        return 1
    print(_shown(path))
    return 0


def _sweep(arguments):
    todo = sweep.cells(
        arguments.out,
        datasets=arguments.datasets,
        seeds=arguments.seeds,
        epss=arguments.eps,
        trainings=arguments.trainings,
        profile=arguments.profile,
        parameters=_parameters(arguments),
    )
    with executor(arguments) as running:
        failed = sweep.sweep(todo, executor=running)
    for name, reason in failed.items():
        print(f"locadv: {name} failed: {reason}", file=sys.stderr)
    print(arguments.out)
    return 1 if failed else 0


@contextlib.contextmanager
def executor(arguments):
    """What runs the cells: a Dask cluster, processes of this machine, or None, this process."""
    if arguments.workers < 1:
        raise ValueError(f"--workers {arguments.workers}: expected at least one.")
    if arguments.scheduler:
        with _client(arguments.scheduler) as client:
            yield client.get_executor(pure=False)
    elif arguments.workers > 1:
        with workers.pool(arguments.workers) as executor:
            yield executor
    else:
        yield None


def _client(scheduler):
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "Dask is not installed; expected the extra cluster: pip install 'locadv_tf[cluster]'."
        ) from None
    try:
        return Client(scheduler_file=scheduler) if os.path.isfile(scheduler) else Client(scheduler)
    except (OSError, ValueError) as problem:
        raise ValueError(
            f"no Dask scheduler answers at {scheduler!r} ({problem}); start one with: dask scheduler"
        ) from None


def _check(arguments):
    options = {"mask": arguments.mask, "seed": arguments.seed}
    data = to_arrays(load_data(arguments.dataset, "test", limit=arguments.limit, **options))
    shape = data[0].shape[1:]
    if (layers := layer_count(arguments.model)) >= MANY_LAYERS:
        print(
            f"locadv: {arguments.model} has {layers} layers, which is many. Loading it, and building the attacks, can "
            "take many minutes without a further word.",
            file=sys.stderr,
            flush=True,
        )
    model = load_classifier(arguments.model, input_shape=shape)
    eps = default_eps(data[0]) if arguments.eps is None else arguments.eps
    attack = PGD(eps=eps, steps=arguments.steps)
    region = validation.choice(arguments.region, validation.REGIONS, name="region")
    surrogate = (colour_cnn if shape[-1] == 3 else small_cnn)(
        shape, len(class_names(arguments.dataset)), seed=arguments.seed + 1
    )
    train = load_data(arguments.dataset, "train", limit=SURROGATE_IMAGES, **options)
    train_classifier(surrogate, train, attack=attack, share=0, epochs=5, seed=arguments.seed)
    settings = {"region": region, "surrogate": surrogate, "seed": arguments.seed}
    rows = checklist.check(model, data, attack, progress=sys.stdout.isatty(), **settings)
    for row in rows:
        print(f"{row['outcome']:14}  {row['check']}: {row['reason']}")
    print(f"{arguments.model}, {arguments.dataset}, {attack}, {arguments.region}: {rows[0]['reason']}")
    print(checklist.headline(rows))
    if arguments.out:
        asked = {name: value for name, value in vars(arguments).items() if name not in ("run", "out")} | {"eps": eps}
        results = {"headline": checklist.headline(rows), "verdicts": rows}
        print(_shown(metrics.write_metrics(arguments.out, parameters=asked, results=results)))
    return 1 if any(row["outcome"] == "fail" for row in rows) else 0


def _collect(arguments):
    _, verdicts = collect.collect(arguments.folder)
    print(verdicts.to_string(index=False, na_rep="–", float_format=lambda value: f"{value:.4g}"))
    print(os.path.join(arguments.folder, "collected.html"))
    return 0


def _colab(arguments):
    for path in colab.stamp(arguments.address):
        print(_shown(path))
    return 0


def _course_release(arguments):
    for path in release.release(arguments.course, arguments.assignments, due=arguments.due):
        print(_shown(path))
    return 0


def _challenge(arguments):
    shared = {name: getattr(arguments, name) for name in ("seeds", "eps", "epochs", "train_limit", "test_limit")}
    digits = _given(arguments, "correlations", "digits", "backgrounds")
    pictures = _given(arguments, "image_size", "fill")
    on_photographs = arguments.dataset != "composite"
    if wrong := digits if on_photographs else pictures:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ValueError(f"{flags} passed for {arguments.dataset!r}; expected for other sets only. Leave it out.")
    if on_photographs:
        out = arguments.out or f"reports/challenge-{arguments.dataset.replace('/', '-')}"
        settings = shared | {"image_size": 64, "fill": "inpaint"} | pictures
        rows, path = photographs_page.report(out, arguments.dataset, **settings)
        found = photographs_page.summary_tables(rows)
    else:
        settings = {"correlations": challenge.CORRELATIONS, "digits": "digits", "backgrounds": "textures"} | digits
        rows, path = challenge_page.report(arguments.out or "reports/challenge", **shared, **settings)
        found = challenge_page.summary_tables(rows)
    for question, table in found.items():
        print(question, table, sep="\n", end="\n\n")
    print(_shown(path))
    return 0


def _given(arguments, *names):
    """Those options that were given."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _prepare_caltech101(arguments):
    from locadv_tf.data import caltech101  # here: it needs TFDS, whose import is slow

    categories = [part.strip() for part in arguments.categories.split(",")] if arguments.categories else None
    made = caltech101.prepare(arguments.images, arguments.annotations, categories=categories, name=arguments.name)
    for file, why in made.left_out.items():
        print(f"locadv: {file} is left out: {why}", file=sys.stderr)
    sizes = ", ".join(f"{n} {split} images" for split, n in made.sizes.items())
    print(f"{arguments.name}: {sizes}; left out without a usable outline: {len(made.left_out)}")
    print(f'la.load_data("{arguments.name}", image_size=(64, 64))')
    print(_shown(made.path))
    return 0


def _playground(arguments):
    out, models, datasets = html_path(arguments.out), arguments.models, arguments.datasets
    datasets = datasets or (["digits"] if models else ["digits", "composite"])
    if models and len(datasets) > 1:
        raise ValueError(f"--dataset {' '.join(datasets)} with models; expected one data set, the models' own.")
    names = arguments.names or [Path(path).stem for path in models]
    if len(names) != len(models) or len(set(names)) < len(names):
        raise ValueError(f"names {', '.join(names)} for {len(models)} models; expected one each. Use --names.")
    made = []
    for dataset in datasets:
        if models:
            shape = tuple(load_data(dataset, "test[:1]").element_spec[0]["image"].shape)
            ready = {name: load_classifier(path, input_shape=shape) for name, path in zip(names, models, strict=True)}
        else:
            ready = stored_models(dataset)
        options = {"images": arguments.images, "eps": arguments.eps, "mask": arguments.mask, "seed": arguments.seed}
        made.append(collection(dataset, ready, **options))
    size = write_page(out, made)
    print(f"{size / 1e6:.2f} MB; open it in a browser, it needs no network", file=sys.stderr)
    print(_shown(out))
    return 0


def _to_stderr(line):
    print(line, file=sys.stderr, flush=True)


def _course_check(arguments):
    rows = release.check(arguments.assignments, log=_to_stderr)
    for row in rows:
        print(
            f"{row['assignment']}: {row['points']:g} points, reference {row['reference']:g} of {row['automatic']:g} "
            f"automatic ones, untouched release {row['released']:g}, lines of solutions left in it: "
            f"{len(row['leaks'])}: {'ok' if row['ok'] else 'NOT OK'}"
        )
    return 0 if all(row["ok"] for row in rows) else 1


def _course_grade(arguments):
    rows = release.grade(
        arguments.course,
        arguments.folder,
        force=arguments.force,
        seconds=grader.SECONDS if arguments.seconds is None else arguments.seconds,
        memory=(grader.MEMORY if arguments.memory is None else arguments.memory) or None,
        log=_to_stderr,
    )
    for row in rows:
        notes = [f"{row['ungraded']:g} more to be marked by hand"] if row["ungraded"] else []
        notes += [f"{row['seconds_late'] / 3600:.1f} h late, minus {row['penalty']:g}"] if row["seconds_late"] else []
        notes += [row["problem"]] if row["problem"] else []
        marks = f"{row['marks']:g} of {row['points']:g}"
        print(f"{row['student']}, {row['assignment']}: {'; '.join([marks, *notes])}")
    print(_shown(os.path.join(arguments.course, "feedback")))
    return 1 if any(row["problem"] for row in rows) else 0


def _course_codes(arguments):
    print(_shown(codes.write(arguments.course, arguments.students, arguments.to)))
    return 0


def _course_publish(arguments):
    print(_shown(publish.publish(arguments.to)))
    return 0


def _course_slides(arguments):
    for path in slides.slides(arguments.to, arguments.lessons, profile=arguments.profile, log=_to_stderr):
        print(_shown(path))
    return 0


def _course_compete(arguments):
    options = {name: getattr(arguments, name) for name in ("dataset", "eps", "limit", "seed", "out")}
    rows = compete.compete(arguments.folder, log=_to_stderr, **options)
    print(_shown(arguments.out))
    return 1 if any(row["problem"] for part in rows.values() for row in part) else 0


def _course_export(arguments):
    print(_shown(release.export(arguments.course, arguments.to)))
    return 0


def _bench(arguments):
    import bench  # of benchmarks/, which the parser has put on the path

    return bench.run(arguments)


def _parameters(arguments):
    return {name: yaml.safe_load(value) for name, value in arguments.parameter}


def _shown(path):
    """A path as a person would type it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith("..") else relative


COMMANDS = {
    "lessons": _lessons,
    "report": _report,
    "sweep": _sweep,
    "collect": _collect,
    "check": _check,
    "challenge": _challenge,
    "prepare caltech101": _prepare_caltech101,
    "playground": _playground,
    "course release": _course_release,
    "course compete": _course_compete,
    "course publish": _course_publish,
    "course slides": _course_slides,
    "course codes": _course_codes,
    "course check": _course_check,
    "course grade": _course_grade,
    "course export": _course_export,
    "colab": _colab,
    "bench": _bench,
}
