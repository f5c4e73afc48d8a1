"""A script that is nbgrader, except that the output of a cell is cut once it is long: an endless one is not stored."""

import json
import sys

MOST = 200_000  # characters of a cell's output
CUT = "\n[The output is longer than this; the rest was cut.]\n"


def capped(output):
    """nbclient's method that stores a message of output, with a limit of `MOST` characters for a cell.

    Errors and results always stay, as marks depend on them; a long one is shortened.
    """
    used = {}

    def store(self, outs, msg, display_id, cell_index):
        cell = msg["parent_header"].get("msg_id")
        kind, content = msg["msg_type"], msg["content"]
        size = len(json.dumps(content, default=str))
        before, used[cell] = used.get(cell, 0), used.get(cell, 0) + size
        if kind == "error":
            msg["content"] = content | {
                "evalue": content["evalue"][:MOST],
                "traceback": [line[:MOST] for line in content["traceback"][:100]],
            }
        elif kind == "execute_result":
            if size > MOST:
                msg["content"] = content | {"data": {"text/plain": content["data"].get("text/plain", "")[:1000] + CUT}}
        elif before > MOST:
            return None
        elif used[cell] > MOST:
            msg = msg | {"msg_type": "stream", "header": msg["header"] | {"msg_type": "stream"}}
            msg["content"] = {"name": "stdout", "text": str(content.get("text", ""))[: MOST - before] + CUT}
        return output(self, outs, msg, display_id, cell_index)

    return store


if __name__ == "__main__":
    # jsonschema's check of addresses in any script builds a grammar when it is imported: a second or two for each
    # submission, and no notebook asks for that check. Where it cannot be imported, jsonschema goes without.
    sys.modules.update({"rfc3987_syntax": None})
    from nbclient import NotebookClient
    from nbgrader.apps.nbgraderapp import NbGraderApp

    NotebookClient.output = capped(NotebookClient.output)
    NbGraderApp.launch_instance()
