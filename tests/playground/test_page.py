"""The playground's file: what is in it, how large it is, that nothing is fetched, and `locadv playground`."""

import base64
import json
import re

import keras
import numpy as np
import pytest

import locadv
import locadv_tf as la
from locadv_tf.models import saved
from locadv_tf.playground import network
from locadv_tf.playground.collection import STORED, _clear, collection, stored_models
from locadv_tf.playground.page import HERE, SCRIPTS, page, write_page

MOST_BYTES = 1_500_000


def data_of(text):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.fixture(scope="module")
def digits(natural_model, lat_model):
    return collection("digits", {"natural": natural_model, "LAT": lat_model})


def test_a_collection_holds_the_images_masks_and_labels_of_the_data_set(digits):
    assert (digits["shape"], digits["eps"], len(digits["labels"])) == ([28, 28, 1], 25.5, 20)
    images = np.frombuffer(base64.b64decode(digits["images"]), np.uint8).reshape(20, 28, 28, 1)
    masks = np.unpackbits(np.frombuffer(base64.b64decode(digits["masks"]), np.uint8).reshape(20, -1), axis=1)
    x, y, mask = la.to_arrays(la.load_data("digits", "test", limit=20, stratify=True))
    there = {(image.tobytes(), int(label), m.tobytes()) for image, label, m in zip(x, y, mask, strict=True)}
    ours = zip(np.float32(images) / np.float32(255), digits["labels"], np.float32(masks), strict=True)
    assert {(image.tobytes(), label, m.tobytes()) for image, label, m in ours} == there
    assert sorted(set(digits["labels"])) == list(range(10))  # of each class its share


def test_the_first_image_shows_the_point(digits, natural_model, lat_model):
    x, y, mask = la.to_arrays(la.load_data("digits", "test", limit=20, stratify=True))
    at = np.argsort(y, kind="stable")[digits["start"]]
    x, y, mask = x[at][None], y[at][None], mask[at][None]
    attacked = la.PGD(eps=0.1, steps=20, random_start=False)(natural_model, x, y, mask=mask)
    assert np.argmax(natural_model(x)) == np.argmax(lat_model(x)) == y[0] != np.argmax(natural_model(attacked))


@pytest.mark.parametrize(
    ("read", "fooled", "first"),
    [  # for each of two models, image by image: is it read, does the attack fool?
        (["1111", "1011"], ["0111", "0001"], 2),  # read by both, and fools the first alone
        (["1111", "1001"], ["0111", "0001"], 3),  # read by both, and fools both
        (
            ["1110", "0010"],
            ["1100", "0000"],
            2,
        ),  # read by both, though it fools nobody: better than one that is misread
        (["0110", "1001"], ["1111", "0110"], 1),  # no image is read by both
    ],
)
def test_the_first_image_is_one_that_all_models_read(read, fooled, first):
    def model(before, after):
        def answer(x, training):
            table = after if x.max() >= 0.5 else before
            return np.eye(2)[[1 - int(table[round(100 * float(i % 0.5))]) for i in x[:, 0, 0, 0]]]  # class 0 is right

        return answer

    lost = [
        [str(int(r == "1" and f == "0")) for r, f in zip(*pair, strict=True)] for pair in zip(read, fooled, strict=True)
    ]
    models = {i: model(read[i], lost[i]) for i in range(2)}
    x = np.arange(4).reshape(4, 1, 1, 1) / 100
    found = _clear(models, (x, np.zeros(4, int), np.ones_like(x)), lambda model, x, y, mask: x + 0.5)
    assert found == first


def test_accuracies_are_those_that_evaluate_gives(digits, natural_model, digits_test):
    rows = digits["models"][0]["measured"]
    assert [(row["region"], row["n"]) for row in rows] == [
        ("none", 400), ("background", 400), ("foreground", 400), ("full", 400)
    ]  # fmt: skip
    attack = la.PGD(eps=0.1, steps=20, random_start=False)
    exact = la.evaluate(network.rounded(natural_model), digits_test, {"PGD": attack}, regions=["background"])
    assert [row["accuracy"] for row in rows[:2]] == [row["accuracy"] for row in exact]


def test_a_page_goes_into_a_new_folder_and_its_size_is_told(digits, tmp_path):
    size = write_page(tmp_path / "new" / "page.html", [digits])
    assert size == (tmp_path / "new" / "page.html").stat().st_size


def test_the_page_fetches_nothing(digits):
    text = page([digits])
    assert "default-src 'none'" in text and "connect-src" not in text  # so the browser itself refuses
    outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", text.replace(json.dumps([digits]), ""))
    assert set(outside) == {"#answers", "data:,", "https://arxiv.org/abs/1909.04779"}  # a link, for a hand to click
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|eval|innerHTML|insertAdjacentHTML)\b", text)
    assert all("</script" not in (HERE / name).read_text() for name in SCRIPTS)


def test_names_are_text_whatever_is_in_them(digits, natural_model, monkeypatch):
    evil = "</script><script>alert(1)</script> @@DATA@@ <!-- \u2028 & \"'"
    monkeypatch.setattr("locadv_tf.playground.collection.class_names", lambda name: [evil] * 10)
    text = page([collection("digits", {evil: natural_model}, images=10)])
    assert text.count("<script") == page([digits]).count("<script") == 2
    assert "alert(1)</script>" not in text and "\u2028" not in text.partition("<script")[2]
    (data,) = data_of(text)
    assert data["classes"] == [evil] * 10 and data["models"][0]["name"] == evil


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {}}, "no model; expected"),
        ({"images": 0}, "images=0"),
        ({"eps": 8}, "8/255 is what you mean"),
        ({"mask": "guess"}, "mask='guess' is unknown"),
        ({"dataset": "numbers"}, "'numbers'"),
    ],
)
def test_bad_input_of_a_collection(change, message, natural_model):
    given = {"dataset": "digits", "models": {"mine": natural_model}} | change
    with pytest.raises(ValueError, match=message):
        collection(**given)


def test_other_classes_than_the_data_sets_are_refused():
    with pytest.raises(ValueError, match="mine has 7 classes, the data set has 10"):
        collection("digits", {"mine": la.small_cnn((28, 28, 1), 7)})


def test_no_collection_and_no_page():
    with pytest.raises(ValueError, match="no collection"):
        page([])
    with pytest.raises(ValueError, match=r"out='page.txt'; expected the name of a page"):
        write_page("page.txt", [])


@pytest.mark.parametrize("dataset", ["digits", pytest.param("composite", marks=pytest.mark.slow)])
def test_the_kits_own_classifiers_are_robust_as_their_names_say(dataset):
    models = stored_models(dataset)
    assert list(models) == list(STORED) == ["natural", "LAT", "AT"] and set(STORED) <= set(la.TRAININGS)
    options = {"correlation": 0} if dataset == "composite" else {}
    x, y, mask = la.to_arrays(la.load_data(dataset, "test", limit=200, **options))
    attack = la.PGD(eps=la.default_eps(x), steps=10)
    robust = {}
    for name, model in models.items():
        found = la.run_attack(model, (x, y, mask), attack, seed=0)
        assert found.natural_correct.mean() > 0.8
        robust[name] = 1 - found.fooled.mean()
    assert robust["natural"] < min(robust["LAT"], robust["AT"]) - 0.1


def test_classifiers_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(saved, "MODELS", tmp_path)
    (tmp_path / "digits-26-LAT.keras").write_text("")
    told = r"has no digits-26-natural, digits-26-AT; expected .* locadv playground MODEL.keras --dataset digits"
    with pytest.raises(ValueError, match=told):
        stored_models("digits")


class TestCommand:
    @pytest.fixture
    def saved(self, natural_model, lat_model, tmp_path):
        natural_model.save(tmp_path / "plain.keras")
        lat_model.save(tmp_path / "careful.keras")
        return [str(tmp_path / name) for name in ("plain.keras", "careful.keras")]

    @pytest.mark.slow
    def test_a_page_of_my_models(self, saved, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert locadv.main(["playground", *saved, "--out", "mine.html", "--images", "10", "--eps", "8/255"]) == 0
        out, err = capsys.readouterr()
        assert out == "mine.html\n" and "MB; open it in a browser" in err
        (data,) = data_of((tmp_path / "mine.html").read_text())
        assert [model["name"] for model in data["models"]] == ["plain", "careful"]
        assert data["name"] == "digits" and data["eps"] == 8 and len(data["labels"]) == 10

    @pytest.mark.slow
    def test_without_a_model_the_kits_own_are_shown_on_a_small_page(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert locadv.main(["playground"]) == 0
        assert capsys.readouterr().out == "playground.html\n"
        made = data_of((tmp_path / "playground.html").read_text())
        assert [each["name"] for each in made] == ["digits", "composite"]
        assert [model["name"] for each in made for model in each["models"]] == 2 * list(STORED)
        assert {model["type"] for each in made for model in each["models"]} == {"float16"}
        assert (tmp_path / "playground.html").stat().st_size < MOST_BYTES

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.keras"], "'nowhere.keras' is no file"),
            (["a.keras", "b/a.keras"], "names a, a for 2 models; expected one each"),
            (["a.keras", "--names", "a", "b"], "names a, b for 1 models"),
            (["a.keras", "--dataset", "digits", "composite"], "expected one data set"),
            (["a.keras", "--out", "page.pdf"], "out='page.pdf'"),
            (["--dataset", "digits", "--images", "0"], "images=0"),
        ],
    )
    def test_bad_input_is_one_line_and_exit_2(self, arguments, message, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert locadv.main(["playground", *arguments]) == 2
        out, err = capsys.readouterr()
        assert not out and message in err and err.count("\n") == 1
        assert not list(tmp_path.iterdir())

    def test_a_layer_that_the_page_does_not_know(self, capsys, tmp_path):
        layers = keras.layers
        odd = [keras.Input((28, 28, 1)), layers.DepthwiseConv2D(3, name="deep"), layers.Flatten(), layers.Dense(10)]
        keras.Sequential(odd).save(tmp_path / "odd.keras")
        assert locadv.main(["playground", str(tmp_path / "odd.keras"), "--out", str(tmp_path / "page.html")]) == 2
        assert "odd has DepthwiseConv2D ('deep'); expected layers that the page knows" in capsys.readouterr().err
        assert not (tmp_path / "page.html").exists()
