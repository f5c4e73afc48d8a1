"""Submissions with plausible mistakes: what is replaced in the reference solution, and which tests must fail.

`{assignment: {what: [(cell, old text, new text, the tests that fail), …]}}`. A submission has several mistakes, each in
a part of its own: all other tests must pass, as a mistake costs its own part only.
"""

_KITS_PGD = "la.PGD(eps=eps, norm='l2', loss='margin', steps=steps, step_size=alpha, random_start=False, keep='last')"

WRONG = {
    "1_background": {
        "upside down, corners twice, touching corners, leak and miss exchanged": [
            ("threshold", "<= value", "> value", {"threshold_hidden"}),
            (
                "border",
                "images[:, 1:-1, 0], images[:, 1:-1, -1]",
                "images[:, :, 0], images[:, :, -1]",
                {"border_ring"},
            ),
            ("tidy", "ndimage.label(foreground)", "ndimage.label(foreground, np.ones((3, 3)))", {"tidy_pieces"}),
            ("errors", "for part in (0, 1)", "for part in (1, 0)", {"errors_values", "errors_empty"}),
        ],
        "the mean of the channels, no hole filled, another student's numbers": [
            ("threshold", "images.max(", "images.mean(", {"threshold_hidden"}),
            ("tidy", "~ndimage.binary_fill_holes(largest)", "~largest", {"tidy_holes"}),
            ("numbers", "harmed = int", "worst_image, harmed = 79, 80  # int", {"numbers_worst", "numbers_harmed"}),
        ],
        "calls the kit": [
            (
                "threshold",
                "return (images.max",
                "return la.masks.threshold(images, value=value)\n    return (images.max",
                {"threshold_seen", "threshold_hidden"},
            ),
        ],
    },
    "2_attack": {
        "training mode, mask by multiplication, start too short, projected before the step, a number left out": [
            ("margin_gradient", "training=False", "training=True", {"margin_gradient_mode"}),
            ("project", "tf.where(mask == 1, x - image, 0.0)", "mask * (x - image)", {"project_nan"}),
            (
                "random_start",
                "tf.where(mask == 1, tf.random.stateless_normal(tf.shape(image), seed=(seed, 0)), 0.0)",
                "tf.random.stateless_normal(tf.shape(image), seed=(seed, 0))",
                {"random_start_spread"},
            ),
            (
                "pgd",
                "project(x + alpha * tf.math.divide_no_nan(gradient, length), image, mask, eps)",
                "project(x, image, mask, eps) + alpha * tf.math.divide_no_nan(gradient, length)",
                {"pgd_one", "pgd_loop", "pgd_legal"},
            ),
            ("numbers", "hardest_hit = int(after.argmax())", "", {"numbers_hardest"}),
        ],
        "a mean over the batch, a start outside of the mask, projection and step as the lessons print them": [
            ("margin_gradient", "margin = tf.reduce_sum", "margin = tf.reduce_mean", {"margin_gradient_values"}),
            (
                "project",
                "change * tf.minimum(1.0, tf.math.divide_no_nan(eps, length))",
                "tf.clip_by_value(change, -eps, eps)",
                {"project_seen", "project_mask", "project_short", "project_nan"},
            ),
            ("pgd", "tf.math.divide_no_nan(gradient, length)", "tf.sign(gradient)", {"pgd_one", "pgd_loop"}),
            (
                "random_start",
                "noise = tf.where(mask == 1, tf.random.stateless_normal(tf.shape(image), seed=(seed, 0)), 0.0)",
                "mask = tf.ones_like(mask)\n    noise = tf.random.stateless_normal(tf.shape(image), seed=(seed, 0))",
                {"random_start_mask"},
            ),
        ],
        "calls the kit": [
            (
                "pgd",
                "    x = image if",
                f"    return {_KITS_PGD}(model, image, label, mask=mask)\n    x = image if",
                {"pgd_one", "pgd_loop", "pgd_legal"},
            ),
        ],
    },
    "3_training": {
        "rows as columns, attacked in training mode, LAT without an attack, marginal interval": [
            ("moved", "stateless_uniform((n, 1), other", "stateless_uniform((n, 1), key", {"moved_shifts"}),
            (
                "train_step",
                "self.classifier(x, training=False)",
                "self.classifier(x, training=True)",
                {"train_step_attack_mode"},
            ),
            ("three", '("LAT", 0.5, False)', '("LAT", 0.0, False)', {"three_robust"}),
            (
                "paired",
                "difference.std(ddof=1)",
                "np.sqrt(np.var(first, ddof=1) + np.var(second, ddof=1))",
                {"paired_values"},
            ),
        ],
        "learned in inference mode, masks moved always, the same pair twice": [
            ("train_step", "axis=0), training=True)", "axis=0), training=False)", {"train_step_one_pass"}),
            ("train_step", " if self.moves else mask", "", {"train_step_moves", "train_step_loss"}),
            (
                "numbers",
                'losses(trained["natural"]), losses(trained["LAT"])',
                'losses(trained["natural"], attacked=True), losses(trained["LAT"])',
                {"numbers_natural"},
            ),
        ],
        "a sum in place of the mean, calls the kit": [
            ("train_step", "tf.reduce_mean", "tf.reduce_sum", {"train_step_loss"}),
            (
                "paired",
                "difference = np.asarray(second",
                "return la.paired_difference(first, second)\n    difference = np.asarray(second",
                {"paired_seen", "paired_values"},
            ),
        ],
    },
    "4_defence": {
        "nearly equal is equal, wrong evidence, a start outside of the mask, the guard forgotten": [
            ("audit", "(x == image) | (mask == 1)", "np.isclose(x, image, atol=1e-2) | (mask == 1)", {"audit_mask"}),
            ("diagnosis", '("mask", touched)', '("mask", 1)', {"diagnosis_graded"}),
            (
                "mended",
                "    x = tf.where(mask == 1, tf.clip_by_value(x, 0.0, 1.0), image)\n",
                "",
                set(),
            ),
            (
                "mended",
                "x = tf.where(mask == 1, tf.clip_by_value(moved, 0.0, 1.0), image)",
                "x = tf.where(mask == 1, tf.clip_by_value(moved, 0.0, 1.0), tf.clip_by_value(x, 0.0, 1.0))",
                {"mended_mask"},
            ),
            ("get_past", "for each in (x, smoothed(x))", "for each in (x, x)", {"get_past_more", "get_past_most"}),
        ],
        "a mean change within the budget, mended with the model's own labels": [
            ("audit", "np.abs(x - image).max() <=", "np.abs(x - image).mean() <=", {"audit_budget"}),
            (
                "mended",
                "    x = image + tf.random",
                "    label = tf.argmax(model(image), axis=-1)\n    x = image + tf.random",
                {"mended_label"},
            ),
        ],
        "strong is what fools on any image, calls the kit": [
            ("audit", '(right["0"] & ~right["noise"]).sum()', "0", {"audit_strong"}),
            (
                "get_past",
                "    logits = model(image",
                "    return la.PGD(eps=eps, steps=20)(model, image, label, mask=mask)\n    logits = model(image",
                {"get_past_legal", "get_past_more", "get_past_most"},
            ),
        ],
    },
}
