"""`locadv`, the command: what it can be asked. The last line on stdout is the path of what was made.

This module stands beside the package, not in it: `import locadv_tf` imports TensorFlow, which takes seconds, and help
must not wait for that, nor the answer to a mistyped option. What the commands do is in `locadv_tf/cli.py`, which is
imported when one runs. So the texts below repeat a few names and defaults of the kit's modules; a test compares them.
"""

import argparse
import atexit
import contextlib
import fractions
import logging
import signal
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent / "benchmarks" / "bench.py"  # there in a clone only
OF_A_CLONE = ("bench", "colab")  # commands


def main(argv=None):
    """Runs the command line; returns the exit status: 0, 1 (something failed) or 2 (bad arguments)."""
    arguments = parser().parse_args(argv)
    if arguments.run in OF_A_CLONE and not BENCH.is_file():
        print(f"locadv: {arguments.run} works on the files of a clone (git clone), not here.", file=sys.stderr)
        return 2
    before = _on_sigterm(_interrupt)  # a cluster's way to say Ctrl-C
    try:
        from locadv_tf import cli  # here, as it takes seconds

        return cli.COMMANDS[arguments.run](arguments)
    except ValueError as problem:  # bad input: the message says all; a traceback would hide it
        print(f"locadv: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("locadv: stopped; what is finished stays, and the same command continues.", file=sys.stderr)
        atexit.register(_quiet)
        return 130
    finally:
        _on_sigterm(before)


def _on_sigterm(handler):
    with contextlib.suppress(ValueError, TypeError):  # signals are for the main thread
        return signal.signal(signal.SIGTERM, handler)


def _interrupt(*_):
    raise KeyboardInterrupt


def _quiet():
    """At exit after a stop: what broken connections to a notebook's process say would bury the message."""
    sys.unraisablehook = lambda _: None
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def parser():
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="locadv", description="Attacks on the background of images, localized adversarial training, and reports."
    )
    commands = top.add_subparsers(required=True, metavar="command")
    _lessons(_command(commands, "lessons", "copy the lessons, notebooks that run where they are, to a folder"))
    _report(_command(commands, "report", "train, attack and compare; write one self-contained HTML report"))
    _sweep(_command(commands, "sweep", "run reports over data sets, seeds, eps and trainings; keep what is finished, "
                    "continue where it stopped"))  # fmt: skip
    command = _command(commands, "collect", "make one table of the reports below a folder (CSV and HTML)")
    command.add_argument("folder", help="a sweep's folder")
    _check(_command(commands, "check", "attack a saved Keras classifier, and say whether its robust accuracy can be "
                    "trusted"))  # fmt: skip
    _challenge(_command(commands, "challenge", "exchange backgrounds: does natural, LAT or AT training rely on a "
                        "background that tells the label?"))  # fmt: skip
    _prepare(commands)
    _playground(_command(commands, "playground", "make a page that attacks small classifiers in the browser: one HTML "
                         "file, no network"))  # fmt: skip
    _course(commands)
    command = _command(commands, "colab", "point the notebooks' Colab badges at a public repository (in a clone)")
    command.add_argument(
        "address", nargs="?", help="https://github.com/OWNER/NAME (default: the one in CITATION.cff, if any)"
    )
    _bench(commands)
    return top


def _command(commands, name, text, *, run=None):
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run or name)  # a name in locadv_tf.cli.COMMANDS
    return command


def _lessons(command):
    command.add_argument("--to", default="lessons", help="the folder (default: lessons); nothing in it is overwritten")


def _report(command):
    command.add_argument("--dataset", default="digits", help="data set, as for load_data (default: digits, embedded)")
    command.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    command.add_argument("--eps", type=_number, help="budget: 8/255 or 0.03 (default: the data set's own)")
    command.add_argument("--out", help="folder for the report (default: reports/DATASET)")
    _profile(command)


def _sweep(command):
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
    _profile(command)


def _profile(command):
    command.add_argument(
        "--profile", default="class", help="smoke (a minute, proves nothing), class (default) or full (hours)"
    )
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="another parameter of notebooks/06_report.ipynb, as in papermill; an unknown name lists them all",
    )  # fmt: skip


def _check(command):
    command.add_argument("model", help="a file that model.save('name.keras') wrote; no code in it is run")
    command.add_argument("--dataset", default="digits", help="data set, as for load_data (default: digits, embedded)")
    command.add_argument(
        "--region",
        default="background",
        help="where it is attacked: background, foreground, full (default: background)",
    )
    command.add_argument(
        "--mask",
        help="how the background is found: threshold, otsu, border, grabcut, center, saliency, ground_truth, random, "
        "full (default: the data set's own way)",
    )
    command.add_argument("--eps", type=_number, help="budget: 8/255 or 0.03 (default: 0.1 for grey images, else 4/255)")
    command.add_argument("--steps", type=int, default=40, help="steps of the attack, PGD (default: 40)")
    command.add_argument("--limit", type=int, default=200, help="how many test images (default: 200)")
    command.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    command.add_argument("--out", help="folder for metrics.json with all the numbers (default: none is written)")


def _challenge(command):
    command.add_argument(
        "--dataset", default="composite",
        help="composite (default: digits on textures, embedded), or a TFDS set of photographs with drawn masks, as "
        "caltech10_outlines",
    )  # fmt: skip
    command.add_argument("--out", help="folder (default: reports/challenge; of photographs, reports/challenge-DATASET)")
    command.add_argument(
        "--correlations", nargs="+", type=_number, metavar="C",
        help="composite: how often the background tells the label in training, each 0 to 1 (default: 0 0.5 0.8 0.9 1)",
    )  # fmt: skip
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="seeds (default: 0 1 2)")
    command.add_argument("--eps", type=_number, default=2 / 255, help="budget of LAT and AT (default: 2/255)")
    command.add_argument("--epochs", type=int, default=10, help="passes over the training images (default: 10)")
    command.add_argument(
        "--train-limit", type=int, metavar="N", help="at most that many training images (default: all)"
    )
    command.add_argument("--test-limit", type=int, metavar="N", help="at most that many test images (default: all)")
    command.add_argument("--digits", help="composite: digits (default, embedded) or mnist")
    command.add_argument("--backgrounds", help="composite: textures (default, embedded) or cifar10")
    command.add_argument("--image-size", type=int, metavar="PIXELS", help="photographs: side of a square (default: 64)")
    command.add_argument(
        "--fill", help="photographs: how an object's place is filled, inpaint or tiles (default: inpaint)"
    )


def _prepare(commands):
    text = "turn official archives into a data set in TFDS_DATA_DIR, with masks that people drew"
    sets = commands.add_parser("prepare", help=text, description=text[0].upper() + text[1:] + ".")
    sets = sets.add_subparsers(required=True, metavar="set")

    text = "Caltech-101 with its outlines (archives: doi 10.22002/D1.20086)"
    command = _command(sets, "caltech101", text, run="prepare caltech101")
    kinds = "a folder or an archive (.tar, .tar.gz, .zip)"
    command.add_argument("--images", required=True, metavar="PATH", help=f"101_ObjectCategories, {kinds}")
    command.add_argument("--annotations", required=True, metavar="PATH", help=f"Annotations, {kinds}")
    command.add_argument("--categories", metavar="A,B,…", help="categories, with commas (default: all with outlines)")
    command.add_argument(
        "--name", default="caltech101_outlines", help="the set's name for load_data (default: caltech101_outlines)"
    )


def _playground(command):
    command.add_argument(
        "models", nargs="*", metavar="model",
        help="files that model.save('name.keras') wrote, side by side on the page; no code in them is run (default: "
        "the kit's own natural, LAT and AT)",
    )  # fmt: skip
    command.add_argument(
        "--dataset", nargs="+", dest="datasets", metavar="NAME",
        help="data set, as for load_data; without models there may be several (default: digits composite, embedded; "
        "with models: digits)",
    )  # fmt: skip
    command.add_argument(
        "--names", nargs="+", metavar="NAME", help="the models' names on the page (default: their files')"
    )
    command.add_argument(
        "--eps", type=_number, help="first budget: 8/255 or 0.03 (default: 0.1 for grey images, else 4/255)"
    )
    command.add_argument("--images", type=int, default=20, help="how many test images the page holds (default: 20)")
    command.add_argument(
        "--mask", help="how the background is found, as for `locadv check` (default: the data set's own way)"
    )
    command.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    command.add_argument("--out", default="playground.html", help="the file (default: playground.html)")


def _course(commands):
    text = "release, check, grade and export the assignments (needs the extra coursework)"
    steps = commands.add_parser("course", help=text, description=text[0].upper() + text[1:] + ".")
    steps = steps.add_subparsers(required=True, metavar="step")

    text = "build the students' versions of the assignments"
    command = _command(steps, "release", text, run="course release")
    _assignments(command)
    _folder(command)
    command.add_argument("--due", metavar="DATE", help="when it is due: '2027-01-31 18:00 UTC'")

    text = "write a table of the students' codes, from which their own numbers follow"
    command = _command(steps, "codes", text, run="course codes")
    command.add_argument("students", help="a text file with one student's id a line: the names of their folders")
    _folder(command)
    command.add_argument("--to", default="codes.csv", help="the file (default: codes.csv)")

    text = "grade reference solutions and untouched releases: full marks, no marks, no solution left"
    _assignments(_command(steps, "check", text, run="course check"))

    text = "grade a folder of STUDENT/ASSIGNMENT.ipynb and write the feedback"
    command = _command(steps, "grade", text, run="course grade")
    command.add_argument("folder", help="the submissions; ASSIGNMENT.timestamp.txt beside one: when it came")
    _folder(command)
    command.add_argument("--force", action="store_true", help="grade unchanged submissions anew, too")
    command.add_argument("--seconds", type=float, help="limit for a submission (default: 1800)")
    command.add_argument(
        "--memory", type=float, metavar="GB",
        help="address space for a submission; 0: no limit, as a GPU needs it (default: 16)",
    )  # fmt: skip

    text = "make the copy of a clone that may be public: no solutions, no hidden tests, no history"
    command = _command(steps, "publish", text, run="course publish")
    command.add_argument("--to", required=True, metavar="FOLDER", help="a new folder")

    text = "run lessons and make slides of them that open offline, one HTML file each"
    command = _command(steps, "slides", text, run="course slides")
    command.add_argument("lessons", nargs="*", help="default: all that have a number (00_start_here and so on)")
    command.add_argument("--to", default="slides", metavar="FOLDER", help="the folder (default: slides)")
    _profile(command)

    text = "a competition: attacked images against classifiers, checked, run and ranked on one page"
    command = _command(steps, "compete", text, run="course compete")
    command.add_argument("folder", help="TEAM/*.npy (attacked images) and TEAM/*.keras (classifiers)")
    command.add_argument("--dataset", default="digits", help="whose test images (default: digits)")
    command.add_argument("--eps", type=_number, help="the budget per pixel (default: the data set's)")
    command.add_argument("--limit", type=int, default=200, help="how many images (default: 200)")
    command.add_argument("--seed", type=int, default=0, help="which images (default: 0)")
    command.add_argument("--out", default="compete.html", help="the page (default: compete.html)")

    command = _command(steps, "export", "write everybody's marks to a CSV file", run="course export")
    _folder(command)
    command.add_argument("--to", default="grades.csv", help="the file (default: grades.csv)")


def _assignments(command):
    command.add_argument("assignments", nargs="*", help="default: all (1_background, 2_attack, 3_training, 4_defence)")


def _folder(command):
    command.add_argument("--course", default="course", help="the course's folder (default: course)")


def _bench(commands):
    text = "time the kit and its peers side by side (in a clone)"
    if not BENCH.is_file():  # no option is one then: whatever is asked, the answer is what is missing
        command = commands.add_parser("bench", help=text, prefix_chars="+", add_help=False)
        command.add_argument("anything", nargs="*")
        command.set_defaults(run="bench")
        return
    sys.path.insert(0, str(BENCH.parent))  # where the contestants' processes find it, too
    import bench

    bench.add_arguments(_command(commands, "bench", text))


def _number(text):
    try:
        return float(fractions.Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 8/255 or 0.03") from None


if __name__ == "__main__":
    sys.exit(main())
