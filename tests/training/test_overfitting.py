"""Single-step training and its watch: real catastrophic overfitting is seen, stopped and mended; silence otherwise."""

import keras
import numpy as np
import pytest

import locadv_tf as la

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
EPS = 0.8  # so large that one step without a random start teaches to withstand that step, and nothing else


def fit(weights, attack, train, *, epochs, callbacks, rate=3e-3):
    model = la.small_cnn((28, 28, 1), 10)
    model.set_weights(weights)
    defended = la.LocalizedAdversarialTraining(model, attack=attack)
    defended.compile(keras.optimizers.Adam(rate), loss=LOSS)
    data = train.take(600).cache().shuffle(600, seed=0).batch(32)
    return model, defended.fit(data, shuffle=False, epochs=epochs, callbacks=callbacks, verbose=0).history


def strong_accuracy(model, sample):
    result = la.run_attack(model, sample, la.PGD(eps=EPS, steps=10), stop="worst", keep_images=False)
    return 1 - np.mean(result.fooled)


@pytest.fixture(scope="module")
def sample(digits_validation):
    return tuple(part[:128] for part in la.to_arrays(digits_validation))


@pytest.fixture(scope="module")
def robust(digits_train):
    """Weights that withstand PGD."""
    start = la.small_cnn((28, 28, 1), 10).get_weights()
    model, _ = fit(start, la.PGD(eps=EPS, steps=3, keep="last"), digits_train, epochs=5, callbacks=[])
    return model.get_weights()


def test_single_step_is_the_recipe_of_the_paper():
    assert la.single_step(eps=0.1) == la.PGD(eps=0.1, steps=1, step_size=0.125, random_start=True, keep="last")
    assert la.single_step(eps=0.9).alpha == 1.0  # a step cannot be larger than the range
    with pytest.raises(ValueError, match="eps=8 is out of range"):
        la.single_step(eps=8)


def test_catastrophic_overfitting_is_seen_stopped_and_mended(robust, digits_train, sample, capsys):
    watch = la.OverfittingWatch(sample)
    model, history = fit(robust, la.FGSM(eps=EPS), digits_train, epochs=6, callbacks=[watch])
    before, after = watch.best, history["val_strong_accuracy"][-1]
    assert watch.overfitted
    assert after < before - 0.2 and history["val_weak_accuracy"][-1] > after + 0.2
    assert len(history["val_strong_accuracy"]) < 6 and "catastrophic overfitting in epoch" in watch.verdict
    assert capsys.readouterr().out.count("Warning: catastrophic overfitting") == 1
    assert strong_accuracy(model, sample) == pytest.approx(before, abs=0.03)  # other random starts


def test_a_classifier_that_never_was_robust_is_told_so_in_the_end(digits_train, sample, capsys):
    start = la.small_cnn((28, 28, 1), 10).get_weights()
    watch = la.OverfittingWatch(sample)
    _, history = fit(start, la.FGSM(eps=EPS), digits_train, epochs=3, callbacks=[watch])
    assert not watch.overfitted and len(history["loss"]) == 3
    assert history["val_weak_accuracy"][-1] - history["val_strong_accuracy"][-1] > 0.2
    assert capsys.readouterr().out.count("Warning: less robust than it looks in training") == 1


def test_silence_where_training_is_sound(digits_train, digits_validation, capsys):
    watch = la.OverfittingWatch(digits_validation)
    options = {"attack": la.single_step(eps=0.1), "epochs": 3, "batch_size": 64, "callbacks": [watch]}
    history = la.train_classifier(la.small_cnn((28, 28, 1), 10), digits_train.take(600), **options)
    assert not watch.overfitted and watch.verdict.startswith("no catastrophic overfitting: accuracy")
    assert "(the training's)" in watch.verdict and "n = 128, after epoch 3" in watch.verdict
    assert len(history["val_weak_accuracy"]) == len(history["val_strong_accuracy"]) == len(history["loss"]) == 3
    assert capsys.readouterr().out == ""


# The criterion, with numbers in place of attacks.


class Scripted(la.OverfittingWatch):
    """Reads its accuracies, weak and strong, from a script; the first pair is that of the start."""

    def __init__(self, data, script, **options):
        super().__init__(data, **options)
        self.script = iter(script)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.measure = lambda: next(self.script)
        self._remember(0, self.measure()[1])


def linear():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([np.zeros((16, 2)), np.zeros(2)])
    return model


def few(n=8):
    rng = np.random.default_rng(0)
    return rng.random((n, 4, 4, 1), "float32"), np.arange(n) % 2, np.ones((n, 4, 4, 1), "float32")


@pytest.mark.parametrize(
    ("script", "epochs", "overfitted", "misled"),
    [
        ([(0.9, 0.8), (0.9, 0.8), (0.9, 0.8)], 2, False, False),
        ([(0.9, 0.8), (0.9, 0.65), (0.9, 0.5), (0.9, 0.4)], 2, True, True),  # not at once, but in two epochs
        ([(0.9, 0.8), (0.5, 0.4), (0.2, 0.1)], 2, False, False),  # it diverges: the training's attack shows it, too
        ([(0.9, 0.55), (0.9, 0.5), (0.9, 0.4)], 2, False, True),  # a gap that was there from the start
        ([(0.5, 0.5), (0.5, 0.1), (0.9, 0.1)], 2, False, True),  # half is what always answering "0" gives here
        ([(0.5, 0.5), (0.9, 0.7), (0.9, 0.1), (0.9, 0.1)], 2, True, True),
    ],
    ids=["sound", "falling", "diverging", "a gap", "chance", "sudden"],
)
def test_the_criterion(script, epochs, overfitted, misled):
    watch = Scripted(few(), script)
    defended = la.LocalizedAdversarialTraining(linear(), attack=la.FGSM(eps=0.1))
    defended.compile(keras.optimizers.SGD(0.1), loss=LOSS)
    x, y, mask = few()
    history = defended.fit({"image": x, "mask": mask}, y, epochs=len(script) - 1, callbacks=[watch], verbose=0).history
    assert (watch.overfitted, watch.misled) == (overfitted, misled)
    assert history["val_strong_accuracy"] == [strong for _, strong in script[1 : epochs + 1]]


@pytest.mark.parametrize(
    ("options", "epochs", "restored"),
    [({"drop": 0.1}, 2, True), ({"drop": 0.3}, 3, True), ({"drop": 0.1, "restore": False}, 4, False)],
)
def test_the_best_weights_return_unless_told_otherwise(options, epochs, restored, capsys):
    watch = Scripted(few(), [(0.5, 0.5), (0.9, 0.8), (0.9, 0.6), (0.9, 0.4), (0.9, 0.3)], **options)
    kept = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: kept.append(watch.model.classifier.get_weights()))
    defended = la.LocalizedAdversarialTraining(linear(), attack=la.FGSM(eps=0.1))
    defended.compile(keras.optimizers.SGD(0.1), loss=LOSS)
    x, y, mask = few()
    defended.fit({"image": x, "mask": mask}, y, epochs=4, callbacks=[note, watch], verbose=0)
    assert len(kept) == epochs
    assert capsys.readouterr().out.count("Warning: catastrophic overfitting in epoch") == 1
    assert ("weights were restored" in watch.verdict) == restored
    for now, best, last in zip(defended.classifier.get_weights(), kept[0], kept[-1], strict=True):
        assert not np.array_equal(best, last)
        np.testing.assert_array_equal(now, best if restored else last)


@pytest.mark.parametrize(("eps", "norm"), [(0.1, "linf"), (1.5, "l2")])  # 1.5 is no budget for the other norm
def test_the_stronger_attack_keeps_to_the_budget_of_the_trainings(eps, norm):
    watch = la.OverfittingWatch(few())
    attack = la.PGD(eps=eps, norm=norm, steps=1, keep="last")
    defended = la.LocalizedAdversarialTraining(linear(), attack=attack)
    defended.compile("sgd", loss=LOSS)
    x, y, mask = few()
    defended.fit({"image": x, "mask": mask}, y, callbacks=[watch], verbose=0)
    assert watch.attacks == (attack, la.PGD(eps=eps, norm=norm, steps=10))


# Bad input.


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"attack": "PGD"}, "attack='PGD'; expected an attack object"),
        ({"images": 0}, "images=0; expected a whole number"),
        ({"drop": 20}, "drop=20 is out of range"),
        ({"seed": -1}, "seed=-1"),
        ({"data": tuple(part[:0] for part in few())}, "no images"),
        ({"data": (255 * few()[0], *few()[1:])}, "images has values from"),
    ],
    ids=lambda bad: next(iter(bad)) if isinstance(bad, dict) else "",
)
def test_bad_arguments(bad, message):
    with pytest.raises(ValueError, match=message):
        la.OverfittingWatch(**{"data": few()} | bad)


@pytest.mark.parametrize(
    ("attack", "options", "sample", "message"),
    [
        (la.FGSM(eps=0.1), {"share": 0}, few(), r"share=0.*expected training .*leave the watch out"),
        (la.RandomNoise(eps=0.1), {}, few(), "RandomNoise.*expected training .*leave the watch out"),
        (la.FGSM(eps=0.1), {}, few()[:2], "region='background' needs masks"),
    ],
)
def test_what_cannot_be_watched(attack, options, sample, message):
    defended = la.LocalizedAdversarialTraining(linear(), attack=attack, **options)
    defended.compile("sgd", loss=LOSS)
    x, y, mask = few()
    with pytest.raises(ValueError, match=message):
        defended.fit({"image": x, "mask": mask}, y, callbacks=[la.OverfittingWatch(sample)], verbose=0)


def test_another_model_cannot_be_watched():
    model = linear()
    model.compile("sgd", loss=LOSS)
    with pytest.raises(ValueError, match="the model is Sequential; expected a LocalizedAdversarialTraining"):
        model.fit(*few()[:2], callbacks=[la.OverfittingWatch(few())], verbose=0)


def test_the_full_region_needs_no_masks():
    x, y, _ = few()
    defended = la.LocalizedAdversarialTraining(linear(), attack=la.FGSM(eps=0.1), region="full")
    defended.compile("sgd", loss=LOSS)
    history = defended.fit(x, y, callbacks=[la.OverfittingWatch((x, y))], verbose=0).history
    assert 0 <= history["val_strong_accuracy"][0] <= history["val_weak_accuracy"][0] <= 1
