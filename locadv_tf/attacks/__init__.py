"""The method: attacks that may change an image only where a mask allows it.

Read `pgd.py` first (FGSM, PGD and random noise: where they start, how they step), then `loop.py` (the one loop, which
keeps the rules for all of them). `balls.py` holds the projection Π, `losses.py` what is climbed and what counts as
fooled, `regions.py` what a mask and a region allow, `randomness.py` the random numbers of each image, `attack.py` the
call and its checks. `apgd.py`, `square.py` and `autoattack.py` are the stronger attacks; `fmn.py` looks for the
smallest change that fools.
"""
