"""Builds the site: executes the lessons, makes the playground, writes all pages as HTML, and looks at what came out.

    make site                                   # the lessons on the profile class; the site is site/html
    python docs/site/make_site.py --profile smoke --lessons 00_start_here      # a quick look

Nothing is fetched. Executed lessons are kept in site/ until what they follow from has changed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import checked
import executed
import sources

import locadv
from locadv_tf.reports import notebooks

HERE = Path(__file__).resolve().parent


def main(argv=None):
    arguments = parser().parse_args(argv)
    to, started = Path(arguments.to), time.monotonic()
    names = [path.stem for path in notebooks.lessons()]
    wanted = names if arguments.lessons is None else [notebooks.notebook_path(name).stem for name in arguments.lessons]
    kept = to / "lessons" / arguments.profile
    os.environ["TQDM_DISABLE"] = "1"  # bars of two lessons at a time cannot be read
    if failed := executed.execute(kept, wanted, profile=arguments.profile, log=log):
        log(f"{', '.join(failed)} failed; no site was made.")
        return 1
    pages = sources.sources({name: executed.page(name, kept) for name in names})
    sources.write(pages, to / "source")
    log(f"{len(pages)} files of source after {time.monotonic() - started:.0f} s")
    if not sphinx(to):
        return 1
    for path in (to / "html" / "_modules").rglob("*.html"):  # where a name has two places, these links miss
        path.write_text(re.sub(r'<a class="viewcode-back".*?</a>', "", path.read_text(encoding="utf-8")))
    if locadv.main(["playground", "--out", str(to / "html" / "play.html")]):
        return 1
    (to / "html" / ".nojekyll").touch()  # for GitHub Pages: folders that begin with _ are served, too
    found = checked.problems(to / "html")
    for line in found:
        log(line)
    log(f"{len(found)} problems; {time.monotonic() - started:.0f} s in all")
    print(to / "html" / "index.html")
    return 1 if found else 0


def parser():
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("--profile", default="class", choices=notebooks.PROFILES, help="of the lessons (default: class)")
    made.add_argument(
        "--lessons", nargs="*", metavar="NAME", help="those that are executed; others have no outputs (default: all)"
    )
    made.add_argument("--to", default="site", help="the folder for all that is made (default: site)")
    return made


def sphinx(to):
    """Runs Sphinx, every warning an error; returns whether it went well."""
    shutil.rmtree(to / "html", ignore_errors=True)  # no page of yesterday
    command = [
        sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", HERE, "-d", to / "doctrees",
        to / "source", to / "html",
    ]  # fmt: skip
    well = subprocess.run(command).returncode == 0
    if not well:
        shutil.rmtree(to / "doctrees", ignore_errors=True)  # the next run says again what is wrong
    return well


def log(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
