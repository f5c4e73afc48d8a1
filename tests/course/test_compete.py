"""A competition: rules are checked, bad files get a line, nothing that is handed in is run."""

import json
import pickle
import zipfile

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
    ):
        with (
            zipfile.ZipFile(folder / "ada" / "plain.keras") as old,
            zipfile.ZipFile(folder / "eve" / f"{name}.keras", "w") as new,
        ):
            for part in old.namelist():
                content = old.read(part)
                if part == "config.json":
                    config = json.loads(content)
                    config["config"]["layers"].append(change)
                    content = json.dumps(config)
                new.writestr(part, content)
    return folder


@pytest.fixture(scope="module")
def result(handed_in):
    return compete.compete(handed_in, eps=EPS, limit=40, out=handed_in / "page" / "compete.html", log=lambda line: None)


REFUSED = {
    "far.npy": "expected at most", "touched.npy": "outside of the mask", "range.npy": "outside of [0, 1]",
    "nan.npy": "NaN", "few.npy": "expected float32 of shape (40, 28, 28, 1)", "double.npy": "float64 of shape",
    "pickle.npy": "", "objects.npy": "", "link.npy": "a link", "text.keras": "not a zip", "lambda.keras": "'Lambda'",
    "small.keras": "(8, 8, 1)", "gadget.keras": "'get_file' of 'keras.utils'", "huge.keras": "100,000 units",
    "saved_model.keras": "'TFSMLayer'", "alone.keras": "",
}  # fmt: skip


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_a_bad_file_gets_a_line(name, why, result):
    (row,) = [row for part in result.values() for row in part if row["file"] == f"eve/{name}"]
    assert row["problem"] and why in row["problem"] and "\n" not in row["problem"] and row["checks"] is None


def test_nothing_is_run_and_the_others_compete(handed_in, capsys):
    small = compete.compete(handed_in, eps=EPS, limit=40, out=handed_in / "again.html")
    told = capsys.readouterr().out
    assert "run!" not in told and told.count("\n") == 5 + len(REFUSED), "a line per file; one is refused late"
    fine = [row for part in small.values() for row in part if not row["problem"]]
    assert {row["file"] for row in fine} == {"ada/plain.keras", "bob/same.keras", "bob/attack.npy", "ada/nothing.npy"}


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
