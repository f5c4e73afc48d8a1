"""Many trained classifiers of one architecture, attacked as one model."""

import keras

from locadv_tf.engine.progress import progress_bar


class Stage:
    """The trained classifiers as one model that takes their weights in turn.

    What is compiled for an attack is kept on the model that it was compiled for. The trainings have one architecture:
    so it is compiled once, not once per training.
    """

    def __init__(self, models, progress):
        self.models, self.progress = models, progress
        self.model, self.other = (keras.models.clone_model(next(iter(models.values()))) for _ in range(2))

    def each(self, what, names=None):
        """Pairs of a training's name and the model with its weights, for all trainings or for these."""
        for name in progress_bar(what, list(names or self.models), unit="model", shown=self.progress):
            yield name, self.with_weights(self.model, name)

    def surrogate(self, name):
        """Another model, with the weights of another training than this one; None if there is none."""
        other = next((key for key in self.models if key != name), None)
        return None if other is None else self.with_weights(self.other, other)

    def with_weights(self, model, name):
        model.set_weights(self.models[name].get_weights())
        return model
