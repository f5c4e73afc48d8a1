"""An attack on a whole data set, on every device.

`stream.py` is the way in (`run_attack`): a stream of images through a batch that stays full, whose `slots.py` are
refilled; `result.py` is what comes out. `devices.py` shares the stream out, `smallest_eps.py` searches for the smallest
budget, `progress.py` shows how far it is.
"""
