"""Sweeps: which cells run and where, and what stays when one fails, a worker dies or the run is stopped."""

import concurrent.futures
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time

import distributed
import pytest

import locadv_tf as la
from locadv_tf.reports import metrics, schema, sweep

NOTHING = {name: {"array": [], "object": {}, "number": 0.1}[part["type"]] for name, part in schema.RESULTS.items()}


def fake_report(*, dataset, profile, seed, out, parameters):
    """What `reports.report` leaves behind, in no time; seed 13 fails, and leaves its notebook."""
    metrics.write_text(out / "report.ipynb", "{}")
    if seed == 13:
        raise RuntimeError("thirteen")
    metrics.write_metrics(out, parameters=sweep.Cell(out, profile, parameters).asked(), results=NOTHING, kind="report")
    metrics.write_text(out / "report.html", "<html></html>")


@pytest.fixture
def ran(monkeypatch):
    """The seeds that ran, in order."""
    seeds = []

    def report(**arguments):
        seeds.append(arguments["seed"])
        fake_report(**arguments)

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    return seeds


def run(todo, **options):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return sweep.sweep(todo, executor=executor, log=lambda line: None, **options)


def test_cells_are_the_product_and_checked_first(tmp_path):
    todo = sweep.cells(tmp_path, datasets=["digits", "composite"], seeds=[0, 1], epss=[None, 8 / 255])
    assert len({cell.folder for cell in todo}) == 8
    assert todo[1].folder.name == "digits-eps0.03137-seed0" and todo[1].asked()["eps"] == 8 / 255
    assert todo[0].asked()["epochs"] == 20  # the profile's
    assert len(sweep.cells(tmp_path, datasets=["digits"], seeds=[0], trainings=list(la.TRAININGS))) == 6
    todo = sweep.cells(tmp_path, datasets=["a/b"], seeds=[0], trainings=["LAT", "natural, equal compute"])
    assert [cell.folder.name for cell in todo] == ["a-b-LAT-seed0", "a-b-natural-equal-compute-seed0"]
    assert [cell.asked()["trainings"] for cell in todo] == [["LAT"], ["natural, equal compute"]]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"parameters": {"epoch": 3}}, "'epoch' is unknown to 06_report"),
        ({"parameters": {"seed": 3}}, "'seed' is what the sweep goes through"),
        ({"parameters": {"trainings": ["LAT"]}, "trainings": ["AT"]}, "'trainings' is what the sweep goes through"),
        ({"trainings": ["LTA"]}, "trainings='LTA' is unknown; expected one of 'natural', 'natural, equal compute'"),
        ({"parameters": {"trainings": []}}, "trainings=None is unknown"),
    ],
)
def test_a_sweep_that_cannot_run_is_refused_before_it_begins(asked, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sweep.cells(tmp_path / "out", datasets=["digits"], seeds=[0], **asked)
    assert not list(tmp_path.iterdir())


def test_a_report_that_is_older_than_a_parameter_is_finished(tmp_path, ran):
    (cell,) = todo = sweep.cells(tmp_path, datasets=["digits"], seeds=[0])
    run(todo)
    path = cell.folder / "metrics.json"
    content = json.loads(path.read_text())
    assert content["parameters"].pop("fine_tune", 0) is None
    path.write_text(json.dumps(content))
    assert cell.finished() and run(todo) == {} and ran == [0]
    (other,) = sweep.cells(tmp_path, datasets=["digits"], seeds=[0], parameters={"fine_tune": 3})
    assert not other.finished()


def test_one_failure_leaves_the_others_and_its_reason(tmp_path, ran):
    todo = sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 13, 2])
    assert run(todo) == {"digits-seed13": "RuntimeError: thirteen"}
    assert [cell.finished() for cell in todo] == [True, False, True]
    assert "thirteen" in (todo[1].folder / "error.txt").read_text() and (todo[1].folder / "report.ipynb").exists()


def test_a_second_run_continues_and_other_parameters_are_refused(tmp_path, ran):
    run(sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 1]))
    run(sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 1, 2]))
    assert ran == [0, 1, 2]
    others = sweep.cells(tmp_path, datasets=["digits"], seeds=[3, 1], parameters={"share": 0.3, "epochs": 3})
    with pytest.raises(ValueError, match=r"digits-seed1' holds .* parameters: epochs 20 and 3, share 0.5 and 0.3\."):
        run(others)
    assert ran == [0, 1, 2]  # nor was the one run that would have had a folder of its own
    run(sweep.cells(tmp_path, datasets=["digits"], seeds=[1]))
    assert ran == [0, 1, 2]


def test_a_report_of_an_earlier_version_is_run_again(tmp_path, ran):
    todo = sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 1])
    run(todo)
    path = todo[0].folder / "metrics.json"
    metrics.write_text(path, json.dumps(json.loads(path.read_text()) | {"version": 1}))
    assert [cell.finished() for cell in todo] == [False, True]
    assert run(todo) == {} and ran == [0, 1, 0] and todo[0].finished()


def test_other_parameters_run_where_a_report_has_failed(tmp_path, ran):
    run(sweep.cells(tmp_path, datasets=["digits"], seeds=[13]))
    run(sweep.cells(tmp_path, datasets=["digits"], seeds=[13], parameters={"share": 0.3}))
    assert ran == [13, 13]


def test_numbers_stay_if_a_run_with_other_parameters_fails(tmp_path, monkeypatch):
    """Two sweeps that began at the same time."""
    (cell,) = sweep.cells(tmp_path, datasets=["digits"], seeds=[13])

    def report(**arguments):
        made = tmp_path / ".made"
        fake_report(**arguments | {"seed": 0, "out": made, "parameters": cell.parameters | {"share": 0.3}})
        cell._place(made)
        fake_report(**arguments)

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    assert cell.run() == "RuntimeError: thirteen"
    assert cell.done()["share"] == 0.3 and os.listdir(tmp_path) == ["digits-seed13"]


def test_two_cells_with_one_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"share the folder 'digits-eps0\.03137-seed0': they differ in eps 0\.0313"):
        sweep.cells(tmp_path, datasets=["digits"], seeds=[0], epss=[8 / 255, 0.03137])
    assert len(sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 0])) == 2  # the same twice does no harm


def test_what_is_finished_stays_when_the_run_is_stopped(tmp_path, ran):
    todo = sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 1, 2])

    def stop(line):
        raise KeyboardInterrupt

    with concurrent.futures.ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        try:
            sweep.sweep(todo, executor=executor, log=stop)
        finally:
            executor.shutdown(cancel_futures=True)
    assert todo[0].finished()
    run(todo)
    assert all(cell.finished() for cell in todo) and len(ran) == len(set(ran))


def test_a_dead_worker_is_a_failed_cell(tmp_path, ran):
    class Dead(concurrent.futures.Executor):
        def submit(self, function, *arguments):
            future = concurrent.futures.Future()
            future.set_exception(concurrent.futures.BrokenExecutor("killed"))
            return future

    failed = sweep.sweep(sweep.cells(tmp_path, datasets=["digits"], seeds=[0]), executor=Dead(), log=print)
    assert failed == {"digits-seed0": "BrokenExecutor: killed"}


def made_by_another_worker(cell, *, fails=False):
    """A folder on its way to the cell's place: a whole report, or one without its numbers."""
    made = cell._aside()
    fake_report(dataset="digits", profile=cell.profile, seed=0, out=made, parameters=cell.parameters)
    (made / "by").write_text("another worker")
    if fails:
        (made / "metrics.json").unlink()
    return made


class TestTwoWorkersWithTheSameCell:
    """One was given up for lost and was not: the first to finish stays, a failure never takes a report's place."""

    @pytest.fixture
    def cell(self, tmp_path):
        return sweep.cells(tmp_path, datasets=["digits"], seeds=[0])[0]

    @pytest.mark.parametrize("fails", [False, True])
    @pytest.mark.parametrize("other_fails", [False, True])
    def test_the_first_to_finish_stays(self, cell, fails, other_fails, monkeypatch):
        def report(**arguments):
            cell._place(made_by_another_worker(cell, fails=other_fails))
            fake_report(**arguments | {"seed": 13 if fails else 0})

        monkeypatch.setattr("locadv_tf.reports.report.report", report)
        assert cell.run() == ("RuntimeError: thirteen" if fails and other_fails else None)
        assert cell.finished() == (not (fails and other_fails))
        assert (cell.folder / "by").exists() == (not other_fails)
        assert os.listdir(cell.folder.parent) == [cell.folder.name]

    def test_a_finished_cell_is_not_run_again(self, cell, ran):
        """As Dask asks for, if a worker dies after the cell's end and before it could say so."""
        assert cell.run() is None and cell.run() is None and ran == [0]

    def test_many_at_once(self, cell):
        """Threads in each other's way, half of which fail: in the end one whole report, and nothing beside it."""
        folders = [made_by_another_worker(cell, fails=i % 2 == 0) for i in range(40)]
        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            list(executor.map(cell._place, folders))
        assert cell.finished() and os.listdir(cell.folder.parent) == [cell.folder.name]


def test_what_a_dead_worker_left_is_cleared_once_the_cell_is_finished(tmp_path, ran):
    (tmp_path / ".digits-seed0.abc").mkdir()
    (tmp_path / ".digits-seed13.abc").mkdir()
    run(sweep.cells(tmp_path, datasets=["digits"], seeds=[0, 13]))
    assert sorted(os.listdir(tmp_path)) == [".digits-seed13.abc", "digits-seed0", "digits-seed13"]


def test_workers_must_have_the_same_environment(tmp_path, ran):
    class Newer(concurrent.futures.ThreadPoolExecutor):
        def submit(self, work, versions):
            return super().submit(work, versions | {"keras": "2.1"})

    todo = sweep.cells(tmp_path, datasets=["digits"], seeds=[0])
    with Newer(1) as executor:
        (reason,) = sweep.sweep(todo, executor=executor, log=print).values()
    keras = metrics.versions()["keras"]
    assert f"has keras {keras} where the sweep was started with 2.1; start all workers in the same" in reason
    assert not ran


def test_workers_must_see_the_same_files(tmp_path, ran):
    """A machine without the folder says so before it works, and one with a folder of its own is found out after."""

    class Elsewhere(concurrent.futures.ThreadPoolExecutor):
        def submit(self, work, versions):
            return super().submit(self.work_there, work, versions)

        def work_there(self, work, versions):
            if not self.mounted:
                out.rmdir()
            done = work(versions)
            shutil.rmtree(out / "digits-seed0")
            return done

    out = tmp_path / "out"
    todo = sweep.cells(out, datasets=["digits"], seeds=[0])
    with Elsewhere(1) as executor:
        executor.mounted = False
        (reason,) = sweep.sweep(todo, executor=executor, log=print).values()
        assert "does not see" in reason and not ran
        executor.mounted = True
        (reason,) = sweep.sweep(todo, executor=executor, log=print).values()
    assert "all workers must share that file system" in reason and ran == [0]


# Real reports, as small as they can be: what they cost is starting a kernel with TensorFlow.
TINY = {"train_limit": 64, "test_limit": 8, "epochs": 1, "train_steps": 1, "attack_steps": 1, "eps_multiples": []}


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_pool_of_processes(tmp_path):
    """One real cell in a process of its own; it fails fast, and the reason comes back."""
    todo = sweep.cells(tmp_path, datasets=["no_such_set"], seeds=[0], profile="smoke")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        (reason,) = sweep.sweep(todo, executor=executor, log=print).values()
    assert "ValueError" in reason and "no_such_set" in reason


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_cluster_that_loses_a_worker_loses_no_cell(tmp_path):
    """Two worker processes, each with a training; one is killed. In the end all is as in one report of both."""
    trainings = ["natural", "LAT"]
    asked = {"datasets": ["digits"], "seeds": [0], "profile": "smoke"}
    (whole,) = sweep.cells(tmp_path, parameters=TINY | {"trainings": trainings}, **asked)
    assert sweep.sweep([whole], log=print) == {}
    before = (whole.folder / "metrics.json").stat()

    apart = sweep.cells(tmp_path, trainings=trainings, parameters=TINY, **asked)
    lines = []
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = set(client.run(os.getpid).values())
        victim = min(pids)

        def kill():
            def at_work(notebook):
                return '"status": "completed"' in notebook.read_text()  # papermill's mark on each cell that has run

            while sum(map(at_work, tmp_path.glob(".*/report.ipynb"))) < 2:
                time.sleep(0.1)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        assert sweep.sweep([whole, *apart], executor=client.get_executor(pure=False), log=lines.append) == {}
        killer.join(1)
        assert victim not in client.run(os.getpid).values()

    assert lines[0] == "1 of 3 cells are finished already" and len(lines) == 3
    assert (whole.folder / "metrics.json").stat() == before
    assert sorted(os.listdir(tmp_path)) == sorted(cell.folder.name for cell in [whole, *apart])
    expected = json.loads((whole.folder / "metrics.json").read_text())["results"]["rows"]
    for cell in apart:
        rows = json.loads((cell.folder / "metrics.json").read_text())["results"]["rows"]
        assert rows and rows == [row for row in expected if row["model"] == rows[0]["model"]]
