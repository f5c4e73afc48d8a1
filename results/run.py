"""Runs the studies of results/plan.yaml, cell by cell, and keeps what each found: `python results/run.py --help`.

A cell is a report (`locadv sweep`) of one training with one seed. Its `metrics.json` is kept in `results/runs/`, its
pages in `sweeps/`. A cell that is kept with the same parameters is not run again: the command can be stopped at any
time, and goes on when it is called again.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Study:
    """One study of the plan: its cells, which of them are kept, and how long the others will take."""

    def __init__(self, plan, study, *, kept, work, quick, on_gpus=False):
        from locadv_tf.reports import sweep

        self.name, self.minutes, self.kept = study["name"], study["minutes"], kept / study["name"]
        parameters = plan["everywhere"] | plan["recipes"][study["recipe"]] | study.get("parameters", {})
        seeds = study["seeds"]
        if on_gpus:
            parameters |= plan["on_gpus"][study["recipe"]]
        if quick:
            parameters, seeds = parameters | plan["quick"][study["recipe"]], min(seeds, 3)
            self.minutes = parameters.pop("minutes")
        self.cells = sweep.cells(
            work / self.name, datasets=[parameters.pop("dataset")], seeds=range(seeds), epss=[study["eps_255"] / 255],
            trainings=study["trainings"], parameters=parameters,
        )  # fmt: skip

        models, self.models = study.get("models", ()), {}
        for i, cell in enumerate(self.cells):
            (training,) = cell.parameters["trainings"]
            if training in models and cell.parameters["seed"] == 0:
                self.cells[i] = dataclasses.replace(cell, parameters=cell.parameters | {"save_models": True})
                self.models[cell.folder.name] = training

    def place(self, cell):
        return self.kept / cell.folder.name

    def finished(self, cell):
        """The kept content of a finished cell, else None."""
        from locadv_tf.reports import schema, sweep

        try:
            content = schema.read_report(self.place(cell) / "metrics.json")
        except FileNotFoundError:
            return None
        return content if content and not sweep.differing(content["parameters"], cell.asked()) else None

    def left(self):
        return [cell for cell in self.cells if self.finished(cell) is None]

    def minutes_of(self, cell):
        """As the same training took with another seed, at best (some shared their core), else as the plan says."""
        took = [
            found["wall_seconds"] / 60
            for other in self.cells
            if other.parameters["trainings"] == cell.parameters["trainings"] and (found := self.finished(other))
        ]
        return min(took, default=self.minutes)

    def keep(self):
        """Copies what finished cells found; the study's tables are made anew from all that is kept."""
        from locadv_tf.reports import collect

        for cell in self.cells:
            if cell.finished() and self.finished(cell) is None:
                self.place(cell).mkdir(parents=True, exist_ok=True)
                aside = self.place(cell) / ".metrics.json"
                shutil.copyfile(cell.folder / "metrics.json", aside)
                os.replace(aside, self.place(cell) / "metrics.json")
                if training := self.models.get(cell.folder.name):
                    keep_model(cell.folder, training, self.kept.parents[1] / "models", self.name)
        if self.kept.exists():
            collect.collect(self.kept)


def keep_model(folder, training, models, study):
    """Copies a classifier, and writes its card."""
    name = f"{study}-{training.replace(' ', '-')}"
    models.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / f"{training}.keras", models / f"{name}.keras")
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    (models / f"{name}.md").write_text(card(name, training, content), encoding="utf-8")


def card(name, training, content):
    """The card of a classifier, from the content of its run's `metrics.json`."""
    from locadv_tf.training.recipes import TRAININGS
    from locadv_tf.units import eps_255

    asked, results = content["parameters"], content["results"]
    natural = next(row for row in results["rows"] if row["condition"] == "natural")
    failed = [row["check"] for row in results["verdicts"][training] if row["outcome"] == "fail"]
    eps, replaced = eps_255(results["eps"]), ""
    if TRAININGS[training].replaced_by:
        replaced = f", {asked['share']:.0%} of each batch replaced, eps {eps}"
    some = f"{asked['train_limit']:,} of its" if asked["train_limit"] else "all"
    data = f"`{asked['dataset']}`, {some} training images; masks: the data set's own way"
    if asked["correlation"] is not None:
        data += f"; correlation of background and label {asked['correlation']:g}"
    lines = [
        f"# {name}", "",
        f"`la.load_model({name!r})`. Written by results/run.py from its run ({content['finished']}).", "",
        f"- **Data**: {data}.",
        f"- **Network**: `{asked['classifier']}`; images float32 in [0, 1], logits out.",
        f"- **Training**: {training}, {asked['epochs']} epochs, seed {asked['seed']}{replaced}; results/PROTOCOL.md.",
        f"- **Natural images**: accuracy {natural['accuracy']:.1%}, loss {natural['loss']:.3f}, "
        f"ECE {100 * natural['ece']:.1f} points (n = {natural['n']:,}).",
    ]  # fmt: skip
    for row in results["headline"]:
        lines.append(
            f"- **Under {row['attack']}, {row['region']}, {eps_255(row['eps'])}**: accuracy {row['accuracy']:.1%} "
            f"[{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}], an upper bound (n = {row['n']:,})."
        )
    lines += [
        f"- **Checks** of the first of these: {'FAILED: ' + ', '.join(failed) if failed else 'none failed'}.",
        "- **Limits**: one seed; robust, if at all, against changes of that size and kind. For teaching and comparing.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def studies(*, quick=False, on_gpus=False, kept=None, work=None):
    """The studies of the plan, in its order, and then those that train the classifiers for teaching.

    With the settings for GPUs: the plan's alone, in folders of their own.
    """
    import yaml

    plan = yaml.safe_load((HERE / "plan.yaml").read_text(encoding="utf-8"))
    name = "results" + ("-on-gpus" if on_gpus else "") + ("-quick" if quick else "")
    work = work or HERE.parent / "sweeps" / name
    kept = kept or (work if quick else HERE / "on-gpus" if on_gpus else HERE) / "runs"
    chosen = plan["studies"][: len(plan["quick"])] if quick else plan["studies"] + ([] if on_gpus else plan["teaching"])
    return [Study(plan, study, kept=kept, work=work, quick=quick, on_gpus=on_gpus) for study in chosen]


def report(found, workers):
    """What is done, what is left, and how long that takes."""
    whole = 0
    for study in found:
        left = study.left()
        minutes = sum(map(study.minutes_of, left))
        whole += minutes
        done = f"{len(study.cells) - len(left)} of {len(study.cells)} cells done"
        print(f"{study.name:20} {done:22} {minutes:5.0f} min left")
    took = f"{whole / 60 / workers:.1f} hours" if whole > 60 * workers else f"{whole / workers:.0f} minutes"
    print(f"About {took} with {workers} workers, if each has a core.")


def run(found, executor):
    from locadv_tf.reports import sweep

    failed = {}
    for study in found:
        study.keep()  # a user who stopped the last run may have done so before its tables were made
        if left := study.left():
            print(f"{study.name}: {len(left)} cells", file=sys.stderr, flush=True)

            def log(line, study=study):
                print(line, file=sys.stderr, flush=True)
                study.keep()

            failed |= sweep.sweep(left, executor=executor, log=log)
            study.keep()
    return failed


def rerun(found, place, work):
    """Runs one kept cell once more (`again.py`), says whether it agrees, and notes that beside the runs."""
    import again

    name, _, cell = place.partition("/")
    study = next((study for study in found if study.name == name and _has(study, cell)), None)
    if study is None:
        raise ValueError(f"{place!r} is no cell of the plan; expected STUDY/CELL, a folder in {found[0].kept.parent}.")
    said = again.again(study, cell, work / "again" / name / cell)
    print("\n".join(said.pop("parts")), f"{place}: {said['said']}.", sep="\n")
    if not said["same_versions"]:
        print("It was kept from other versions of Python or its packages.")
    notes = study.kept.parents[1] / "reruns.json"
    noted = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    notes.write_text(json.dumps(noted | {place: said}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return said


def _has(study, name):
    return any(cell.folder.name == name for cell in study.cells)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="of the first two a tenth of the images, into sweeps/")
    parser.add_argument("--on-gpus", action="store_true", help="the plan's settings for GPUs, into results/on-gpus")
    parser.add_argument("--studies", nargs="+", help="which (default: all, in the plan's order)")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine (default: 2)")
    parser.add_argument("--scheduler", help="address or file of a Dask scheduler whose workers see this folder")
    parser.add_argument("--plan", action="store_true", help="say what is left and how long it takes, and stop")
    parser.add_argument("--again", metavar="STUDY/CELL", help="run one kept cell from nothing, and compare; no other")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers}: expected at least one")
    # Two processes that each take all cores wait for each other.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, (os.cpu_count() or 1) // options.workers)))
    from locadv_tf import cli  # only now: it starts TensorFlow

    found = studies(quick=options.quick, on_gpus=options.on_gpus)
    if unknown := set(options.studies or ()) - {study.name for study in found}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the plan has {', '.join(s.name for s in found)}")
    if options.again:
        try:
            rerun(found, options.again, found[0].cells[0].folder.parents[1])
        except ValueError as problem:
            parser.error(str(problem))
        return 0
    found = [study for study in found if study.name in (options.studies or [study.name])]
    report(found, options.workers)
    if options.plan:
        return 0
    with cli.executor(options) as executor:
        failed = run(found, executor)
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
