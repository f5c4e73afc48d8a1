"""A competition: rules are checked, bad files get a line, nothing that is handed in is run."""

import contextlib
import io
import json
import pickle
import resource
import sys
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import locadv
import locadv_tf as la
from locadv_tf.course import compete

EPS = 0.4


class Bomb:
    def __reduce__(self):
        return (print, ("run!",))


@pytest.fixture(scope="module")
def task():
    return la.to_arrays(la.load_data("digits", "test", limit=40, seed=0))


@pytest.fixture(scope="module")
def model():
    model = la.small_cnn((28, 28, 1), 10)
    la.train_classifier(model, la.load_data("digits", "train", limit=600), attack=la.PGD(eps=EPS), share=0, epochs=4)
    return model


def rewrite(source, target, changes):
    """A copy of a saved model whose description says something else: what it describes is never built here."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for part in old.namelist():
            content = old.read(part)
            if part == "config.json":
                text = content.decode()
                for before, after in changes.items():
                    assert before in text
                    text = text.replace(before, after)
                content = text.encode()
            new.writestr(part, content)


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory, task, model):
    """Two teams that keep the rules, and one that breaks them in every way."""
    folder = tmp_path_factory.mktemp("handed_in")
    for team in ("ada", "bob", "eve"):
        (folder / team).mkdir()
    image, label, mask = task
    x = la.PGD(eps=EPS)(model, image, label, mask=mask).numpy()
    model.save(folder / "ada" / "plain.keras")
    model.save(folder / "bob" / "same.keras")
    np.save(folder / "bob" / "attack.npy", x)
    np.save(folder / "ada" / "nothing.npy", image)
    bad = {
        "far": np.clip(np.where(mask == 1, x + 0.3, x), 0, 1), "touched": np.clip(image + 0.1 * (mask == 0), 0, 1),
        "range": image - 0.01, "nan": np.where(mask == 1, np.float32(np.nan), image), "few": x[:5],
        "double": x.astype(float),
    }  # fmt: skip
    for name, array in bad.items():
        np.save(folder / "eve" / f"{name}.npy", array if name in ("few", "double") else array.astype("float32"))
    (folder / "eve" / "pickle.npy").write_bytes(pickle.dumps(Bomb()))
    np.save(folder / "eve" / "objects.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(folder / "eve" / "several.npz", x=x)
    (folder / "eve" / "several.npz").rename(folder / "eve" / "several.npy")
    for name, header in (
        ("claim", str({"descr": "<f4", "fortran_order": False, "shape": (2**40, 28, 28, 1)})),  # 3 PB in 200 bytes
        ("code", "print('run!')"),
        ("long", " " * 10**7),
    ):
        size = len(header).to_bytes(4, "little")
        (folder / "eve" / f"{name}.npy").write_bytes(b"\x93NUMPY\x02\x00" + size + header.encode() + bytes(64))
    (folder / "eve" / "link.npy").symlink_to(folder / "bob" / "attack.npy")
    (folder / "eve" / "text.keras").write_text("no model")
    code = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Lambda(lambda x: x), *la.small_cnn((28, 28, 1), 10).layers]
    )
    code.save(folder / "eve" / "lambda.keras")
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        folder / "eve" / "small.keras"
    )
    alone = keras.Input(batch_shape=(1, 28, 28, 1))  # it takes one image at a time, and no batch
    read = keras.layers.LSTM(4, stateful=True)(keras.layers.Reshape((28, 28))(alone))
    keras.Model(alone, keras.layers.Dense(10)(read)).save(folder / "eve" / "alone.keras")
    for name, change in (
        ("gadget", {"module": "keras.utils", "class_name": "get_file", "config": {}}),
        ("huge", {"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**9}}),
        ("saved_model", {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/etc"}}),
        ("deep", [{"module": "keras.layers", "class_name": "ReLU", "config": {"name": f"r{i}"}} for i in range(5000)]),
    ):
        layers = json.dumps(change).strip("[]")
        rewrite(
            folder / "ada" / "plain.keras", folder / "eve" / f"{name}.keras", {'"layers": [': f'"layers": [{layers}, '}
        )
    if sys.platform == "linux":  # elsewhere nothing would stop them
        for name, layers, larger in (
            ("wide", [keras.layers.Flatten(), keras.layers.Dense(997), keras.layers.Dense(997)], {"997": "100000"}),
            (
                "tall",
                [keras.layers.UpSampling2D(3), keras.layers.GlobalAveragePooling2D()],
                {"[3, 3]": "[10000, 10000]"},
            ),
        ):
            keras.Sequential([keras.Input((28, 28, 1)), *layers, keras.layers.Dense(10)]).save(folder / "small.keras")
            rewrite(folder / "small.keras", folder / "eve" / f"{name}.keras", larger)
    return folder


@pytest.fixture(scope="module")
def competed(handed_in):
    """The result, what was printed, and by how many bytes this process grew."""
    printed, before = io.StringIO(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.redirect_stdout(printed):
        result = compete.compete(handed_in, eps=EPS, limit=40, out=handed_in / "page" / "compete.html")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return SimpleNamespace(result=result, printed=printed.getvalue(), grown=1024 * grown)


@pytest.fixture(scope="module")
def result(competed):
    return competed.result


def in_a_competition(test):
    """For tests that share a competition: one worker starts its processes, some of which a file ends."""
    return pytest.mark.slow(pytest.mark.xdist_group("competition")(test))


REFUSED = {
    "far.npy": "expected at most", "touched.npy": "outside of the mask", "range.npy": "outside of [0, 1]",
    "nan.npy": "NaN", "few.npy": "expected float32 of shape (40, 28, 28, 1)", "double.npy": "float64 of shape",
    "pickle.npy": "", "objects.npy": "", "link.npy": "a link", "text.keras": "not a zip", "lambda.keras": "'Lambda'",
    "small.keras": "(8, 8, 1)", "gadget.keras": "'get_file' of 'keras.utils'", "huge.keras": "100,000 units",
    "saved_model.keras": "'TFSMLayer'", "alone.keras": "", "several.npy": "magic string", "claim.npy": "mmap length",
    "code.npy": "malformed node", "long.npy": "Header info length", "deep.keras": "expected at most 1,000",
}  # fmt: skip
if sys.platform == "linux":
    REFUSED |= dict.fromkeys(("wide.keras", "tall.keras"), "more than 4 GiB of memory")


@in_a_competition
@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_a_bad_file_gets_a_line(name, why, result):
    (row,) = [row for part in result.values() for row in part if row["file"] == f"eve/{name}"]
    assert row["problem"] and why in row["problem"] and "\n" not in row["problem"] and row["checks"] is None


@in_a_competition
def test_nothing_is_run_and_the_others_compete(competed):
    assert "run!" not in competed.printed and competed.printed.count("\n") == 4 + len(REFUSED), "a line per file"
    fine = [row for part in competed.result.values() for row in part if not row["problem"]]
    assert {row["file"] for row in fine} == {"ada/plain.keras", "bob/same.keras", "bob/attack.npy", "ada/nothing.npy"}
    assert competed.grown < 2**27, "what students hand in took this process's memory"


@in_a_competition
def test_scores(result, model, task):
    image, label, _ = task
    natural = np.mean(model.predict(image, verbose=0).argmax(-1) == label)
    by_name = {row["file"]: row for part in result.values() for row in part}
    defence = by_name["ada/plain.keras"]
    assert defence["natural"][0] == pytest.approx(natural) and defence["under"]["ada/nothing.npy"][0] == pytest.approx(
        natural
    )
    assert defence["under_all"][0] <= min(share for share, *_ in defence["under"].values()) < natural
    assert by_name["bob/attack.npy"]["fooled"][0] > by_name["ada/nothing.npy"]["fooled"][0] == 0
    assert by_name["bob/attack.npy"]["defences"] == 1  # its own team's does not count
    assert [row["file"] for row in result["attacks"]][:2] == ["bob/attack.npy", "ada/nothing.npy"]


@in_a_competition
def test_the_page_has_a_row_per_file_with_its_checks(result, handed_in):
    text = (handed_in / "page" / "compete.html").read_text()
    for part in result.values():
        for row in part:
            assert f"<td>{row['file']}</td>" in text
    assert "on the background alone</td>" in text and "upper bound" in text and "<script" not in text


def test_the_command(handed_in, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="holds no TEAM"):
        compete.compete(tmp_path)
    monkeypatch.setattr(compete, "compete", lambda folder, **options: {"attacks": [{"problem": options["eps"]}]})
    assert locadv.main(["course", "compete", str(handed_in), "--eps", "8/255"]) == 1
    assert capsys.readouterr().out == "compete.html\n"
