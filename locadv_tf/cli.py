"""`locadv`: a thin front on reports and sweeps. The last line on stdout is the path of what was made."""

import argparse
import fractions
import os
import sys

import papermill
import yaml

from locadv_tf import checks, masks, reports, sweeps, verdicts
from locadv_tf.attacks import PGD
from locadv_tf.batches import to_arrays
from locadv_tf.data import class_names, load_data
from locadv_tf.models import colour_cnn, load_classifier, small_cnn
from locadv_tf.training import train_classifier

SURROGATE_IMAGES = 2000  # that the other model, which `check` crafts images on, is trained on
BENCHMARKS = reports.NOTEBOOKS.parent / "benchmarks"


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
        "run reports over data sets, seeds and eps; keep what is finished, continue where it stopped",
    )
    command.add_argument(
        "--datasets", nargs="+", default=["digits"], metavar="NAME", help="data sets (default: digits)"
    )
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="seeds (default: 0 1 2)")
    command.add_argument(
        "--eps", nargs="+", type=_number, default=[None], metavar="EPS", help="budgets, as 8/255 or 0.03"
    )
    command.add_argument("--out", default="sweeps/sweep", help="the sweep's folder (default: sweeps/sweep)")
    command.add_argument("--workers", type=int, default=1, help="reports at a time, a process each (default: 1)")
    _shared(command)

    command = _command(commands, "collect", _collect, "make one table of the reports below a folder (CSV and HTML)")
    command.add_argument("folder", help="a sweep's folder")

    command = _command(
        commands, "check", _check, "attack a saved Keras classifier, and say whether its robust accuracy can be trusted"
    )
    command.add_argument("model", help="a file that model.save('name.keras') wrote; no code in it is run")
    command.add_argument("--dataset", default="digits", help="data set, as for load_data (default: digits, embedded)")
    command.add_argument(
        "--region",
        default="background",
        help=f"where it is attacked: {', '.join(checks.REGIONS)} (default: background)",
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
        path = reports.report(
            dataset=arguments.dataset, profile=arguments.profile, seed=arguments.seed, out=out, parameters=given
        )
    except papermill.PapermillExecutionError as problem:
        print(f"{problem}\nlocadv: a cell failed; what was done until then is in {out}/report.ipynb", file=sys.stderr)
        return 1
    print(_shown(path))
    return 0


def _sweep(arguments):
    todo = sweeps.cells(
        arguments.out,
        datasets=arguments.datasets,
        seeds=arguments.seeds,
        epss=arguments.eps,
        profile=arguments.profile,
        parameters=_parameters(arguments),
    )
    failed = sweeps.sweep(todo, workers=arguments.workers)
    for name, reason in failed.items():
        print(f"locadv: {name} failed: {reason}", file=sys.stderr)
    print(arguments.out)
    return 1 if failed else 0


def _check(arguments):
    options = {"mask": arguments.mask, "seed": arguments.seed}
    data = to_arrays(load_data(arguments.dataset, "test", limit=arguments.limit, **options))
    shape = data[0].shape[1:]
    model = load_classifier(arguments.model, input_shape=shape)
    colour = shape[-1] == 3
    eps = arguments.eps if arguments.eps is not None else (4 / 255 if colour else 0.1)
    attack = PGD(eps=eps, steps=arguments.steps)
    region = checks.choice(arguments.region, checks.REGIONS, name="region")
    surrogate = (colour_cnn if colour else small_cnn)(
        shape, len(class_names(arguments.dataset)), seed=arguments.seed + 1
    )
    train = load_data(arguments.dataset, "train", limit=SURROGATE_IMAGES, **options)
    train_classifier(surrogate, train, attack=attack, share=0, epochs=5, seed=arguments.seed)
    settings = {"region": region, "surrogate": surrogate, "seed": arguments.seed}
    rows = verdicts.check(model, data, attack, progress=sys.stdout.isatty(), **settings)
    for row in rows:
        print(f"{row['outcome']:14}  {row['check']}: {row['reason']}")
    print(f"{arguments.model}, {arguments.dataset}, {attack}, {arguments.region}: {rows[0]['reason']}")
    print(verdicts.headline(rows))
    if arguments.out:
        asked = {name: value for name, value in vars(arguments).items() if name not in ("run", "out")} | {"eps": eps}
        results = {"headline": verdicts.headline(rows), "verdicts": rows}
        print(_shown(reports.write_metrics(arguments.out, parameters=asked, results=results)))
    return 1 if any(row["outcome"] == "fail" for row in rows) else 0


def _collect(arguments):
    _, verdicts = sweeps.collect(arguments.folder)
    print(verdicts.to_string(index=False, na_rep="–", float_format=lambda value: f"{value:.4g}"))
    print(os.path.join(arguments.folder, "collected.html"))
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
