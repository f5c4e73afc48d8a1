"""Is there a network? Asked before a download."""

import threading
import urllib.error
import urllib.request

PROBE = "https://storage.googleapis.com"  # where TFDS and Keras keep their files


def answers(seconds=3.0):
    """Whether there is a network: one try, for at most `seconds`. Downloads try for minutes."""
    came = []

    def ask():
        try:
            # A new opener reads the present proxy variables; urlopen keeps the first ones.
            urllib.request.build_opener().open(PROBE, timeout=seconds).close()
            came.append(True)
        except urllib.error.HTTPError as error:  # an error page is also an answer
            error.close()
            came.append(True)
        except Exception:  # no route, no name, a wrong or closed proxy: no network
            pass

    thread = threading.Thread(target=ask, daemon=True)  # the timeout above does not limit the look-up of the name
    thread.start()
    thread.join(seconds)
    return bool(came)
