"""What a failed check tells a student, and numbers that belong to one student."""

import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf
from IPython.core.interactiveshell import InteractiveShell

import locadv_tf as la
from locadv_tf.course import broken_attacks, feedback


@pytest.mark.parametrize(
    ("got", "expected", "atol", "message"),
    [
        (tf.constant([1.0, 2.0]), np.array([1, 2]), 0, None),
        ([1.0, 2.05], [1, 2], 0.1, None),
        (np.float32(0.5), 0.5, 0, None),
        (None, [1, 2], 0, "got       NoneType\n"),
        (None, 3, 0, "expected  3\n  got       None"),
        ("three", 3, 0, "got       'three'"),
        ([[1, 2]], [1, 2], 0, "numbers of shape (2,)\n  got       list of shape (1, 2)"),
        (np.zeros((2, 1)), [0, 0], 0, "ndarray of shape (2, 1)"),
        (np.zeros(3), np.zeros(2), 0, "ndarray of shape (3,)"),
        ([1.0, np.nan], [1, 2], 0.1, "1 of 2 values differ"),
        (
            [1.0, 2.5],
            [1, 2],
            0.1,
            "expected  values within 0.1 of [1, 2]\n  got       1 of 2 values differ, by up to 0.5",
        ),
        (np.arange(9), np.zeros(9), 0, "8 of 9 values differ, by up to 8: [0, 1, 2, 3, …]"),
        (True, False, 0, "expected  0\n  got       1"),
    ],
)
def test_expect_equal(got, expected, atol, message):
    if message is None:
        return feedback.expect_equal(got, expected, "it", look="there", atol=atol)
    with pytest.raises(feedback.NotYet) as failed:
        feedback.expect_equal(got, expected, "it", look="there", atol=atol)
    assert message in str(failed.value)
    assert str(failed.value).startswith("Not yet: it\n  expected  ") and str(failed.value).endswith("look at   there")


def test_jupyter_shows_the_message_alone(capsys):
    shell = InteractiveShell.instance()
    try:
        shell.run_cell("from locadv_tf.coursework import expect\nexpect(False, 'a', expected=1, got=2, look='b')")
    finally:
        InteractiveShell.clear_instance()
    assert capsys.readouterr().out == "Not yet: a\n  expected  1\n  got       2\n  look at   b\n"


def by_itself(images):
    return (images.max(axis=-1, keepdims=True) <= 0.5).astype(np.float32)


def by_the_kit(images):
    return la.masks.threshold(images, value=0.5)


def by_a_thread_of_the_kit(images):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(by_the_kit, images).result()


@pytest.mark.parametrize("body", [by_the_kit, by_a_thread_of_the_kit])
def test_a_part_that_calls_the_kit_is_refused(body):
    images = np.float32([0.2, 0.9]).reshape(1, 1, 2, 1)
    expected = feedback.expect_own("it", lambda: by_itself(images))
    with pytest.raises(feedback.NotYet, match=r"(?s)expected  your own code.*a call of the kit's threshold"):
        feedback.expect_own("it", lambda: body(images))
    np.testing.assert_array_equal(body(images), expected)  # and nobody is watched any more


def test_personal_numbers(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    seeds = {feedback.personal_seed(f"student {n}", year=2026) for n in range(100)}
    assert len(seeds) > 95 and min(seeds) >= 0 and max(seeds) < 10_000
    with pytest.raises(ValueError, match="write your id"):
        feedback.personal_seed(" ", year=2026)

    # While it is graded, the folder says who the student is.
    (tmp_path / "grace" / "2_attack").mkdir(parents=True)
    own = feedback.personal_seed("grace", year=2026)
    monkeypatch.chdir(tmp_path / "grace" / "2_attack")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert own == feedback.personal_seed("", year=2026) == feedback.personal_seed("grace", year=2026)
    assert not capsys.readouterr().out
    assert own == feedback.personal_seed("ada", year=2026)
    assert "says student = 'ada', but 'grace' handed it in" in capsys.readouterr().out


def test_each_broken_attack_breaks_its_rule_and_no_other(tiny_model):
    rng = np.random.default_rng(0)
    image = rng.random((16, 8, 8, 1), "float32").round(1)  # many pixels at or near 0 and 1
    label, eps = rng.integers(0, 3, 16), 0.1
    mask = (rng.random((16, 8, 8, 1)) < 0.5).astype("float32")
    model = tiny_model()

    def loss(x):
        return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(label, model(x, training=False))))

    attacks = broken_attacks.cases(7)
    assert sorted(broken_attacks.answers(7).values()) == sorted(broken_attacks.FAULTS)
    gains = {}
    for name, fault in broken_attacks.answers(7).items():
        x = attacks[name](model, image, label, mask, eps).numpy()
        assert (np.abs(x - image).max() > eps + 1e-3) == (fault == "budget")
        assert bool(x.min() < 0 or x.max() > 1) == (fault == "range")
        assert np.any((x != image) & (mask == 0)) == (fault == "mask")
        gains[fault] = loss(x) - loss(image)
    assert gains["sign"] < 0 < gains["steps"] < 0.1 * gains["sound"]


def test_the_order_of_the_broken_attacks_is_personal():
    orders = {tuple(broken_attacks.answers(seed).values()) for seed in range(50)}
    assert len(orders) > 40
