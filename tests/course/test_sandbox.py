"""What student code can do in each kind of sandbox that this system has."""

import os
import subprocess
import sys

import pytest

from locadv_tf.course import sandbox

ATTEMPTS = """
import os, socket, sys
course, own, settings = sys.argv[1:]
def attempt(what):
    try:
        return what()
    except OSError as refused:
        return type(refused).__name__
open(own + "/mine", "w").write("mine")
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
print({
    "the course": attempt(lambda: os.listdir(course)),
    "the settings": attempt(lambda: open(settings, "a")),
    "Python": attempt(lambda: open(os.path.join(sys.prefix, "sitecustomize.py"), "w")),
    "the net": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 5)),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]) < 9,
    "rights": open("/proc/self/status").read().split("CapEff:")[1].split()[0].strip("0"),
})
"""


@pytest.mark.parametrize("kind", ["bubblewrap", "namespaces"])
def test_a_submission_reaches_nothing_but_its_own(kind, tmp_path):
    course, own, settings = tmp_path / "course", tmp_path / "copy" / "own", tmp_path / "copy" / "settings.py"
    for folder in (course, own):
        folder.mkdir(parents=True)
    settings.write_text("")
    (course / "secret").write_text("")
    seen = sandbox.places(hide=[course], read=[settings.parent], write=[own])
    try:
        works = subprocess.run(sandbox.wrap(kind, ["true"], seen), cwd=own, capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        pytest.skip(f"{kind} does not work here")
    command = [sys.executable, "-I", "-c", ATTEMPTS, *map(str, (course, own, settings))]
    done = subprocess.run(sandbox.wrap(kind, command, seen), cwd=own, capture_output=True, text=True)
    assert done.stdout == str(
        {
            "the course": [], "the settings": "OSError", "Python": "OSError", "the net": "OSError", "processes": True,
            "rights": "",
        }
    ) + "\n", done.stderr  # fmt: skip
    assert (own / "mine").read_text() == "mine" and os.listdir(course) == ["secret"]


def test_outer_places_come_first_and_the_last_word_counts(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    seen = sandbox.places(hide=[inner, tmp_path], read=[tmp_path / "a"], write=[inner])
    mine = [place for place in seen if place[0].startswith(str(tmp_path))]
    assert mine == [(str(tmp_path), "hide"), (str(tmp_path / "a"), "read"), (str(inner), "write")]
    assert sandbox.wrap(None, ["nbgrader", "autograde"], seen) == ["nbgrader", "autograde"]


def test_the_environment_holds_no_secrets(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "x")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    environment = sandbox.environment(HOME="/nowhere")
    assert "SOME_TOKEN" not in environment
    assert (environment["HOME"], environment["TF_CPP_MIN_LOG_LEVEL"]) == ("/nowhere", "2") and environment["PATH"]
