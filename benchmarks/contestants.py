"""Who is timed: the kit and its peers, each as a function that is made ready once and then run round after round.

An attack contestant returns adversarial images, or verdicts where it has them; everything outside `run` is not timed.
Peers are called as their documentation shows, with the same budget and step size, a random start, and one batch size;
the kit chooses its own.
"""

import keras
import numpy as np
import tensorflow as tf

import locadv_tf as la
from locadv_tf.attacks.losses import respond_with_gradient

BATCH = 128


def attack_kit(task):
    attack = la.PGD(eps=task["eps"], steps=task["steps"])

    def run():
        result = la.run_attack(task["model"], task["data"], attack, region=task["region"], keep_images=False)
        return {"fooled": result.fooled, "gradient_evaluations": result.gradient_evaluations}

    return run


CALLS, FEW = 10, 16  # so many calls for so few images make a round


def few_kit(task):
    """Calls for a few images each, all steps taken: what a student does who looks at single images."""
    attack, data = la.PGD(eps=task["eps"], steps=task["steps"]), tuple(part[:FEW] for part in task["data"])

    def run():
        for _ in range(CALLS):
            result = la.run_attack(task["model"], data, attack, region=task["region"], stop="worst")
        return {"gradient_evaluations": CALLS * result.gradient_evaluations}

    return run


def floor_few(task):
    """The bare compiled passes of these calls."""
    model, (x, y, _) = task["model"], task["data"]
    passes = tf.function(lambda x, y: respond_with_gradient(model, x, y), autograph=False)
    batch = tf.constant(x[:FEW]), tf.constant(y[:FEW], tf.int64)

    def run():
        for _ in range(CALLS * task["steps"]):
            passes(*batch)
        return {"gradient_evaluations": CALLS * task["steps"] * FEW}

    return run


def attack_plain(task):
    """The kit's attack object in a `tf.function`, batch by batch: every image takes every step."""
    attack = la.PGD(eps=task["eps"], steps=task["steps"])
    model, (x, y, mask) = task["model"], task["data"]
    mask = la.region_mask(mask, task["region"]).numpy()
    compiled = tf.function(lambda x, y, mask, seed: attack(model, x, y, mask=mask, seed=seed), reduce_retracing=True)

    def run():
        parts = [slice(first, first + BATCH) for first in range(0, len(x), BATCH)]
        return {
            "images": np.concatenate([compiled(x[at], y[at], mask[at], tf.constant(at.start)).numpy() for at in parts])
        }

    return run


def attack_art(task):
    from art.attacks.evasion import ProjectedGradientDescent

    x, y, mask = task["data"]
    attack = ProjectedGradientDescent(
        art_classifier(task["model"]),
        norm=np.inf,
        eps=task["eps"],
        eps_step=task["alpha"],
        max_iter=task["steps"],
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )
    masks = {} if task["region"] == "full" else {"mask": np.broadcast_to(mask, x.shape)}
    return lambda: {"images": attack.generate(x, y, **masks)}


def attack_foolbox(task):
    import foolbox

    x, y, _ = task["data"]
    wrapped = foolbox.TensorFlowModel(task["model"], bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(abs_stepsize=task["alpha"], steps=task["steps"], random_start=True)

    def run():
        done = []
        for first in range(0, len(x), BATCH):
            part = slice(first, first + BATCH)
            labels = tf.constant(y[part], tf.int64)  # int32 breaks it under NumPy 2
            done.append(attack(wrapped, tf.constant(x[part]), labels, epsilons=task["eps"])[1].numpy())
        return {"images": np.concatenate(done)}

    return run


def attack_cleverhans(task):
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    model, (x, y, _) = task["model"], task["data"]

    def run():
        done = []
        for first in range(0, len(x), BATCH):
            part = slice(first, first + BATCH)
            done.append(
                projected_gradient_descent(
                    model, tf.constant(x[part]), task["eps"], task["alpha"], task["steps"], np.inf,
                    clip_min=0.0, clip_max=1.0, y=tf.constant(y[part], tf.int64), rand_init=True, sanity_checks=False,
                ).numpy()
            )  # fmt: skip
        return {"images": np.concatenate(done)}

    return run


def floor_attack(task):
    """Bare compiled forward + input-gradient passes, as many as the kit needs, and one forward pass over all images."""
    model, (x, y, _) = task["model"], task["data"]
    passes = tf.function(lambda x, y: respond_with_gradient(model, x, y), autograph=False)
    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    needed = attack_kit(task)()["gradient_evaluations"]
    batch = tf.constant(x[:BATCH]), tf.constant(y[:BATCH], tf.int64)

    def run():
        for _ in range(round(needed / BATCH)):
            seen = passes(*batch)
        for first in range(0, len(x), BATCH):
            logits = forward(x[first : first + BATCH])
        seen.loss.numpy(), logits.numpy()  # a GPU still computes when Python is through
        return {"gradient_evaluations": needed}

    return run


def train_kit(task):
    x, y, mask = task["data"]
    attack = la.PGD(eps=task["eps"], steps=task["train_steps"], keep="last")
    defended = la.LocalizedAdversarialTraining(task["model"], attack=attack, region="full", share=1.0)
    defended.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    options = tf.data.Options()
    options.autotune.enabled = False  # as in what the kit iterates
    data = tf.data.Dataset.from_tensor_slices(({"image": x, "mask": mask}, y)).with_options(options)
    data = data.batch(BATCH, drop_remainder=True).cache()

    def run():
        defended.fit(data, shuffle=False, epochs=1, verbose=0)
        return {"images_seen": len(x) // BATCH * BATCH}

    return run


def train_art(task):
    """ART's trainer as it comes: its classifier runs the step that it is given, which no one has compiled."""
    return _art_trainer(task, compiled=False)


def train_art_compiled(task):
    return _art_trainer(task, compiled=True)


def floor_train(task):
    """The parts: attack passes on the batch, then one training pass, each compiled by itself."""
    model, (x, y, _) = task["model"], task["data"]
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_weights)
    passes = tf.function(lambda x, y: respond_with_gradient(model, x, y), autograph=False)

    def step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    step = tf.function(step, autograph=False)
    batches = [
        (tf.constant(x[first : first + BATCH]), tf.constant(y[first : first + BATCH], tf.int64))
        for first in range(0, len(x) - BATCH + 1, BATCH)
    ]

    def run():
        for batch in batches:
            for _ in range(task["train_steps"]):
                passes(*batch)
            step(*batch)
        model.trainable_weights[0].numpy()  # a GPU still computes when Python is through
        return {"images_seen": len(batches) * BATCH}

    return run


def art_classifier(model, train_step=None):
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        model=model,
        nb_classes=model.output_shape[-1],
        input_shape=model.input_shape[1:],
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=tf.keras.optimizers.Adam(),
        train_step=train_step,
        clip_values=(0, 1),
    )


def _art_trainer(task, *, compiled):
    from art.defences.trainer import AdversarialTrainerMadryPGD

    model, (x, y, _) = task["model"], task["data"]
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_weights)
    loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(model, images, labels):
        with tf.GradientTape() as tape:
            loss = loss_object(labels, model(images, training=True))
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    trainer = AdversarialTrainerMadryPGD(
        art_classifier(model, tf.function(step) if compiled else step),
        nb_epochs=1,
        batch_size=BATCH,
        eps=task["eps"],
        eps_step=2.5 * task["eps"] / task["train_steps"],
        max_iter=task["train_steps"],
        num_random_init=1,
    )
    seen = len(x) // BATCH * BATCH

    def run():
        trainer.fit(x[:seen], np.eye(model.output_shape[-1])[y[:seen]], nb_epochs=1, batch_size=BATCH)
        return {"images_seen": seen}

    return run
