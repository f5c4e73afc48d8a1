"""Workers share what one of them makes: it is made once, appears as a whole, and a failure leaves nothing behind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from once import once


def test_it_is_made_once_and_all_wait_for_it(tmp_path):
    made, together = [], threading.Barrier(4)

    def make(folder):
        made.append(folder)
        time.sleep(0.2)
        (folder / "answer").write_text("42")

    def worker(_):
        together.wait()
        return (once(tmp_path / "thing", make) / "answer").read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(worker, range(4))) == ["42"] * 4
    assert len(made) == 1 and [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_after_a_failure_the_next_one_tries(tmp_path):
    def fails(folder):
        (folder / "half").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        once(tmp_path / "thing", fails)
    assert not (tmp_path / "thing").exists()
    once(tmp_path / "thing", lambda folder: (folder / "whole").touch())
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["whole"]
