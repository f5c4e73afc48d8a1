"""What changes in a folder is found, named and put back, whatever it became."""

import os

import pytest

from locadv_tf.course import tampering


@pytest.fixture
def folder(tmp_path):
    there = tmp_path / "course"
    for name in ("release/1/a.ipynb", "feedback/ada/a.html", "settings.py"):
        path = there / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (there / "link").symlink_to("settings.py")
    return there


def overwrite(path):
    path.write_text("other")


def to_link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


def to_folder(path):
    path.unlink()
    (path / "deeper").mkdir(parents=True)


def same_time(path):
    """Another content of the same length, with the time of the old one put back."""
    about = path.stat()
    path.write_text(path.read_text().replace("s", "z"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [overwrite, to_link, to_folder, same_time, os.unlink, lambda path: path.chmod(0o777)]
)
def test_a_changed_file_is_put_back(change, folder):
    path = folder / "settings.py"
    path.chmod(0o600)
    before = tampering.look(folder)
    change(path)
    assert "settings.py" in tampering.restore(folder, before)
    assert path.read_text() == "settings.py" and path.stat().st_mode & 0o777 == 0o600 and not path.is_symlink()
    assert tampering.restore(folder, before) == []


def test_folders_and_links_are_put_back_and_new_things_removed(folder, tmp_path):
    before = tampering.look(folder)
    elsewhere = tmp_path / "elsewhere"
    (folder / "release").rename(elsewhere)
    (folder / "release").symlink_to(elsewhere)  # what is written to release/ goes elsewhere now
    (folder / "link").unlink()
    (folder / "link").symlink_to("other.py")
    (folder / "sitecustomize.py").write_text("")
    (folder / "new" / "deep").mkdir(parents=True)
    assert tampering.restore(folder, before) == [
        "link", "new", "new/deep", "release", "release/1", "release/1/a.ipynb", "sitecustomize.py",
    ]  # fmt: skip
    assert tampering.differences(before, tampering.look(folder)) == []
    assert not (folder / "release").is_symlink() and (folder / "release/1/a.ipynb").read_text() == "release/1/a.ipynb"


def test_a_file_that_was_only_touched_is_the_same(folder):
    before = tampering.look(folder)
    os.utime(folder / "settings.py")
    assert tampering.restore(folder, before) == []
    again = tampering.look(folder, before)
    assert again[str(folder / "release/1/a.ipynb")] is before[str(folder / "release/1/a.ipynb")]  # not read again


@pytest.mark.skipif(os.geteuid() == 0, reason="root enters every folder")
def test_a_folder_that_cannot_be_entered(folder):
    before = tampering.look(folder)
    (folder / "release").chmod(0)
    assert "release" in tampering.restore(folder, before)
    assert tampering.differences(before, tampering.look(folder)) == []
