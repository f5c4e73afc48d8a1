"""Submissions with one plausible mistake each: what is replaced in the reference solution, and which tests must fail.

`{assignment: {mistake: ([(cell, old text, new text), …], the tests that fail)}}`; all other tests must pass.
"""

WRONG = {
    "1_background": {
        "the threshold mask upside down": (
            [("threshold", "<= value", "> value")],
            {"threshold_hidden"},
        ),
        "the mean of the channels in place of the brightest": (
            [("threshold", "images.max(", "images.mean(")],
            {"threshold_hidden"},
        ),
        "corners counted twice": (
            [("border", "images[:, 1:-1, 0], images[:, 1:-1, -1]", "images[:, :, 0], images[:, :, -1]")],
            {"border_ring"},
        ),
        "IoU of the backgrounds": (
            [
                ("iou", "(mask == 0) & (truth == 0)", "(mask == 1) & (truth == 1)"),
                ("iou", "(mask == 0) | (truth == 0)", "(mask == 1) | (truth == 1)"),
            ],
            {"iou_foreground", "numbers_vanished", "numbers_worst"},
        ),
        "another student's numbers": (
            [
                ("numbers", "worst_image = int", "worst_image, vanished = 79, 1  # int"),
                ("numbers", "vanished = int", "# "),
            ],
            {"numbers_worst", "numbers_vanished"},
        ),
    },
    "2_attack": {
        "forgot the mask at the random start": (
            [("random_start", "project(image + noise, image, mask, eps)", "tf.clip_by_value(image + noise, 0.0, 1.0)")],
            {"random_start_mask"},
        ),
        "projected before the step, and a number left out": (
            [
                (
                    "pgd",
                    "project(x + alpha * tf.sign(input_gradient(model, x, label)), image, mask, eps)",
                    "project(x, image, mask, eps) + alpha * tf.sign(input_gradient(model, x, label))",
                ),
                ("numbers", "hardest_hit = int(losses(attacked).argmax())", ""),
            ],
            {"pgd_fgsm", "pgd_loop", "pgd_legal", "numbers_turned", "numbers_hardest"},
        ),
        "the gradient in training mode": (
            [("input_gradient", "training=False", "training=True")],
            {"input_gradient_mode"},
        ),
        "a mean over the batch": (
            [("input_gradient", "tf.reduce_sum", "tf.reduce_mean")],
            {"input_gradient_sum"},
        ),
        "the mask by multiplication": (
            [("project", "tf.where(mask == 1, x, image)", "image + mask * (x - image)")],
            {"project_nan"},
        ),
    },
    "3_training": {
        "trained with the attack in training mode": (
            [("train_step", "self.classifier(x, training=False)", "self.classifier(x, training=True)")],
            {"train_step_attack_mode"},
        ),
        "learned in inference mode": (
            [("train_step", "self.classifier(mixed, training=True)", "self.classifier(mixed, training=False)")],
            {"train_step_one_pass"},
        ),
        "a sum in place of the mean": (
            [("train_step", "tf.reduce_mean", "tf.reduce_sum")],
            {"train_step_same"},
        ),
        "share counted for natural images": (
            [("mix", "n = int(share * image.shape[0] + 0.5)", "n = int((1 - share) * image.shape[0] + 0.5)")],
            {"mix_seen", "mix_half", "three_robust"},
        ),
    },
    "4_defence": {
        "nearly equal is equal": (
            [("audit", "(x == image) | (mask == 1)", "np.isclose(x, image, atol=1e-2) | (mask == 1)")],
            {"audit_mask"},
        ),
        "a mean change within the budget": (
            [("audit", "np.abs(x - image).max() <=", "np.abs(x - image).mean() <=")],
            {"audit_budget", "diagnosis_graded"},
        ),
        "mended with the model's own labels": (
            [
                (
                    "mended",
                    "    x = image + tf.random",
                    "    label = tf.argmax(model(image), axis=-1)\n    x = image + tf.random",
                )
            ],
            {"mended_label"},
        ),
        "mended without the mask at the start": (
            [
                ("mended", "    x = tf.where(mask == 1, tf.clip_by_value(x, 0.0, 1.0), image)\n", ""),
                (
                    "mended",
                    "x = tf.where(mask == 1, tf.clip_by_value(moved, 0.0, 1.0), image)",
                    "x = tf.where(mask == 1, tf.clip_by_value(moved, 0.0, 1.0), tf.clip_by_value(x, 0.0, 1.0))",
                ),
            ],
            {"mended_mask"},
        ),
        "a stand-in that does not round": (
            [("stand_in", "x + tf.stop_gradient(tf.round((levels - 1) * x) / (levels - 1) - x)", "x")],
            {"stand_in_seen"},
        ),
        "strong is what turns any image": (
            [("audit", "turned(model, x) > turned(model, noise)", "turned(model, x) > 0")],
            {"audit_strong"},
        ),
    },
}
