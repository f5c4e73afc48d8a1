"""The output of a cell is cut; what marks depend on stays."""

from locadv_tf.course import capped_nbgrader
from locadv_tf.course.capped_nbgrader import CUT, MOST


def stored(*messages):
    """What nbclient would store of messages of one cell, as `(kind, content)`."""
    kept = []
    store = capped_nbgrader.capped(lambda self, outs, msg, *_: kept.append((msg["msg_type"], msg["content"])))
    for kind, content in messages:
        store(None, [], {"msg_type": kind, "header": {}, "parent_header": {"msg_id": "a"}, "content": content}, None, 0)
    return kept


def stream(text):
    return "stream", {"name": "stdout", "text": text}


def test_a_short_output_is_kept_as_it_is():
    messages = [stream("a"), ("display_data", {"data": {"text/plain": "b"}}), ("execute_result", {"data": {}})]
    assert stored(*messages) == messages


def test_a_long_one_is_cut_once_and_the_rest_is_dropped():
    kept = stored(stream("a" * (MOST // 2)), stream("b" * MOST), stream("c"), ("display_data", {"data": {}}))
    assert [kind for kind, _ in kept] == ["stream", "stream"]
    assert kept[1][1]["text"].endswith("b" + CUT) and sum(len(content["text"]) for _, content in kept) < 1.1 * MOST


def test_errors_and_results_stay_after_a_flood():
    error = {"ename": "NotYet", "evalue": "x" * 2 * MOST, "traceback": ["y" * 2 * MOST] * 1000}
    kept = stored(stream("a" * 2 * MOST), ("execute_result", {"data": {"text/plain": "24"}}), ("error", error))
    assert kept[1] == ("execute_result", {"data": {"text/plain": "24"}})
    assert kept[2][0] == "error" and kept[2][1]["ename"] == "NotYet" and len(kept[2][1]["traceback"]) == 100
    long = stored(("execute_result", {"data": {"text/plain": "z" * 2 * MOST, "text/html": "z"}}))
    assert len(long[0][1]["data"]["text/plain"]) < 2000 and list(long[0][1]["data"]) == ["text/plain"]
