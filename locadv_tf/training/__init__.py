"""The other half of the method: training on natural and background-adversarial images together.

Read `localized.py` first (`train_step` mixes the two kinds of images), then `recipes.py` (the trainings that are
compared). `overfitting.py` watches trainings with one attack step.
"""
