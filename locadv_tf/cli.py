"""`locadv`: a thin front on reports, sweeps and courses. The last line on stdout is the path of what was made."""

import argparse
import concurrent.futures
import contextlib
import fractions
import multiprocessing
import os
import sys

import papermill
import yaml

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.course import grader, release
from locadv_tf.data import masks
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.load import class_names, load_data
from locadv_tf.evaluation import challenge
from locadv_tf.models import colour_cnn, load_classifier, small_cnn
from locadv_tf.reports import challenge_page, colab, collect, metrics, notebooks, report, sweep
from locadv_tf.training.recipes import train_classifier
from locadv_tf.units import default_eps
from locadv_tf.verdicts import checklist

SURROGATE_IMAGES = 2000  # that the other model, which `check` crafts images on, is trained on
BENCHMARKS = notebooks.NOTEBOOKS.parent / "benchmarks"


def main(argv=None):
    """Runs the command line; returns the exit status: 0, 1 (something failed) or 2 (bad arguments)."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except ValueError as problem:  # bad input: the message says all; a traceback would hide it
        print(f"locadv: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("locadv: stopped; what is finished stays, and the same command continues.", file=sys.stderr)
        return 130


def parser():
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="locadv", description="Attacks on the background of images, localized adversarial training, and reports."
    )
    commands = top.add_subparsers(required=True, metavar="command")

    command = _command(commands, "report", _report, "train, attack and compare; write one self-contained HTML report")
    command.add_argument("--dataset", default="digits", help="data set, as for load_data (default: digits, embedded)")
    command.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    command.add_argument("--eps", type=_number, help="budget: 8/255 or 0.03 (default: the data set's own)")
    command.add_argument("--out", help="folder for the report (default: reports/DATASET)")
    _shared(command)

    command = _command(
        commands,
        "sweep",
        _sweep,
        "run reports over data sets, seeds, eps and trainings; keep what is finished, continue where it stopped",
    )
    command.add_argument(
        "--datasets", nargs="+", default=["digits"], metavar="NAME", help="data sets (default: digits)"
    )
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="seeds (default: 0 1 2)")
    command.add_argument(
        "--eps", nargs="+", type=_number, default=[None], metavar="EPS", help="budgets, as 8/255 or 0.03"
    )
    command.add_argument("--out", default="sweeps/sweep", help="the sweep's folder (default: sweeps/sweep)")
    command.add_argument(
        "--trainings", nargs="+", metavar="NAME",
        help="trainings, a report each: natural, 'natural, equal compute', noise, 'random mask', LAT, AT (default: all "
        "in one report)",
    )  # fmt: skip
    where = command.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, default=1, help="reports at a time on this machine (default: 1)")
    where.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="run on a Dask cluster: its scheduler's address, tcp://HOST:8786, or scheduler file (extra: cluster)",
    )  # fmt: skip
    _shared(command)

    command = _command(commands, "collect", _collect, "make one table of the reports below a folder (CSV and HTML)")
    command.add_argument("folder", help="a sweep's folder")

    command = _command(commands, "colab", _colab, "point the notebooks' Colab badges at a public repository")
    command.add_argument(
        "address", nargs="?", help="https://github.com/OWNER/NAME (default: the one in CITATION.cff, if any)"
    )

    command = _command(
        commands,
        "challenge",
        _challenge,
        "exchange backgrounds: does natural, LAT or AT training lean on a background that tells the label?",
    )
    command.add_argument("--out", default="reports/challenge", help="folder (default: reports/challenge)")
    command.add_argument(
        "--correlations", nargs="+", type=_number, default=list(challenge.CORRELATIONS), metavar="C",
        help="how often the background tells the label in training, each 0 to 1 (default: 0 0.5 0.8 0.9 1)",
    )  # fmt: skip
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="seeds (default: 0 1 2)")
    command.add_argument("--eps", type=_number, default=2 / 255, help="budget of LAT and AT (default: 2/255)")
    command.add_argument("--epochs", type=int, default=10, help="passes over the training images (default: 10)")
    command.add_argument(
        "--train-limit", type=int, metavar="N", help="at most that many training images (default: all)"
    )
    command.add_argument("--test-limit", type=int, metavar="N", help="at most that many digits to test (default: all)")
    command.add_argument("--digits", default="digits", help="digits (default, embedded) or mnist")
    command.add_argument("--backgrounds", default="textures", help="textures (default, embedded) or cifar10")

    _course_commands(commands)

    command = _command(
        commands, "check", _check, "attack a saved Keras classifier, and say whether its robust accuracy can be trusted"
    )
    command.add_argument("model", help="a file that model.save('name.keras') wrote; no code in it is run")
    command.add_argument("--dataset", default="digits", help="data set, as for load_data (default: digits, embedded)")
    command.add_argument(
        "--region",
        default="background",
        help=f"where it is attacked: {', '.join(validation.REGIONS)} (default: background)",
    )
    command.add_argument(
        "--mask", help=f"how the background is found: {', '.join(masks.SOURCES)} (default: the data set's own way)"
    )
    command.add_argument("--eps", type=_number, help="budget: 8/255 or 0.03 (default: 0.1 for grey images, else 4/255)")
    command.add_argument("--steps", type=int, default=40, help="steps of the attack, PGD (default: 40)")
    command.add_argument("--limit", type=int, default=200, help="how many test images (default: 200)")
    command.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    command.add_argument("--out", help="folder for metrics.json with all the numbers (default: none is written)")

    if BENCHMARKS.is_dir():  # it belongs to the clone, as the notebooks do
        sys.path.insert(0, str(BENCHMARKS))  # where the contestants' processes find it, too
        import bench

        command = _command(commands, "bench", bench.run, "time the kit and its peers side by side")
        bench.add_arguments(command)
    return top


def _course_commands(commands):
    text = "release, check, grade and export the assignments (needs the extra coursework)"
    steps = commands.add_parser("course", help=text, description=text[0].upper() + text[1:] + ".")
    steps = steps.add_subparsers(required=True, metavar="step")

    command = _command(steps, "release", _course_release, "build the students' versions of the assignments")
    _names(command)
    _course_folder(command)
    command.add_argument("--year", type=int, help="what personal numbers follow from, beside the student's id")
    command.add_argument("--due", metavar="DATE", help="when it is due: '2027-01-31 18:00 UTC'")

    text = "grade reference solutions and untouched releases: full marks, no marks, no solution left"
    _names(_command(steps, "check", _course_check, text))

    command = _command(
        steps, "grade", _course_grade, "grade a folder of STUDENT/ASSIGNMENT.ipynb and write the feedback"
    )
    command.add_argument("folder", help="the submissions; ASSIGNMENT.timestamp.txt beside one: when it came")
    _course_folder(command)
    command.add_argument("--force", action="store_true", help="grade unchanged submissions anew, too")
    command.add_argument(
        "--seconds", type=float, default=grader.SECONDS, help=f"limit for a submission (default: {grader.SECONDS})"
    )
    command.add_argument(
        "--memory", type=float, default=grader.MEMORY, metavar="GB",
        help=f"address space for a submission; 0: no limit, as a GPU needs it (default: {grader.MEMORY})",
    )  # fmt: skip

    command = _command(steps, "export", _course_export, "write everybody's marks to a CSV file")
    _course_folder(command)
    command.add_argument("--to", default="grades.csv", help="the file (default: grades.csv)")


def _names(command):
    command.add_argument("assignments", nargs="*", help=f"default: all ({', '.join(release.assignments())})")


def _course_folder(command):
    command.add_argument("--course", default="course", help="the course's folder (default: course)")


def _command(commands, name, run, text):
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    return command


def _shared(command):
    command.add_argument(
        "--profile", default="class", help="smoke (a minute, proves nothing), class (default) or full (hours)"
    )
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="another parameter of notebooks/06_report.ipynb, as in papermill; an unknown name lists them all",
    )  # fmt: skip


def _report(arguments):
    given = _parameters(arguments) | ({} if arguments.eps is None else {"eps": arguments.eps})
    out = arguments.out or f"reports/{arguments.dataset.replace('/', '-')}"
    try:
        path = report.report(
            dataset=arguments.dataset, profile=arguments.profile, seed=arguments.seed, out=out, parameters=given
        )
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
    with _executor(arguments) as executor:
        failed = sweep.sweep(todo, executor=executor)
    for name, reason in failed.items():
        print(f"locadv: {name} failed: {reason}", file=sys.stderr)
    print(arguments.out)
    return 1 if failed else 0


@contextlib.contextmanager
def _executor(arguments):
    """What runs the cells: a Dask cluster, processes of this machine, or None, this process."""
    if arguments.workers < 1:
        raise ValueError(f"--workers {arguments.workers}: expected at least one.")
    if arguments.scheduler:
        with _client(arguments.scheduler) as client:
            yield client.get_executor(pure=False)
    elif arguments.workers > 1:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        with concurrent.futures.ProcessPoolExecutor(arguments.workers, mp_context=context) as executor:
            try:
                yield executor
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():  # which would begin cells that wait in its queue
                    process.terminate()
                raise
    else:
        yield None


def _client(scheduler):
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("Dask is not installed; python -m pip install --editable '.[cluster]'") from None
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
    for path in release.release(arguments.course, arguments.assignments, year=arguments.year, due=arguments.due):
        print(_shown(path))
    return 0


def _challenge(arguments):
    names = ("correlations", "seeds", "eps", "epochs", "train_limit", "test_limit", "digits", "backgrounds")
    rows, path = challenge_page.report(arguments.out, **{name: getattr(arguments, name) for name in names})
    for question, table in challenge_page.summary_tables(rows).items():
        print(question, table, sep="\n", end="\n\n")
    print(_shown(path))
    return 0


def _course_check(arguments):
    rows = release.check(arguments.assignments, log=lambda line: print(line, file=sys.stderr))
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
        seconds=arguments.seconds,
        memory=arguments.memory or None,
        log=lambda line: print(line, file=sys.stderr),
    )
    for row in rows:
        notes = [f"{row['ungraded']:g} more to be marked by hand"] if row["ungraded"] else []
        notes += [f"{row['seconds_late'] / 3600:.1f} h late, minus {row['penalty']:g}"] if row["seconds_late"] else []
        notes += [row["problem"]] if row["problem"] else []
        marks = f"{row['marks']:g} of {row['points']:g}"
        print(f"{row['student']}, {row['assignment']}: {'; '.join([marks, *notes])}")
    print(_shown(os.path.join(arguments.course, "feedback")))
    return 1 if any(row["problem"] for row in rows) else 0


def _course_export(arguments):
    print(_shown(release.export(arguments.course, arguments.to)))
    return 0


def _parameters(arguments):
    return {name: yaml.safe_load(value) for name, value in arguments.parameter}


def _number(text):
    try:
        return float(fractions.Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 8/255 or 0.03") from None


def _shown(path):
    """A path as a person would type it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith("..") else relative


if __name__ == "__main__":
    sys.exit(main())
