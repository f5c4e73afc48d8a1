"""Submissions without own work, part by part: `{assignment: {cell: its source}}`.

COPIED takes what the lessons print for such a part, with names and arguments changed until it fits. CALLS asks the kit.
Cells that are not named stay as they were released.
"""

COPIED = {
    "1_background": {
        "threshold": """
def threshold_mask(images, value):
    return la.masks.threshold(images, value=value)
""",
        "border": """
def border_distance(images):
    return 3 * (1 - la.masks.background_mask("border", images))


def border_mask(images, cut):
    return la.masks.background_mask("border", images)
""",
        "tidy": """
def tidy(mask):
    return la.masks.random(mask, seed=0, smoothness=2.0)
""",
        "errors": """
def errors(mask, truth):
    overlap = np.array([la.masks.quality({"mask": mask[[i]]}, exact=truth[[i]])[0]["iou_exact"]
                        for i in range(len(mask))])
    return 1 - overlap, 1 - overlap
""",
        "numbers": """
found = la.masks.background_mask("border", images)
overlap = np.array([la.masks.quality({"border": found[[i]]}, exact=exact[[i]])[0]["iou_exact"]
                    for i in range(len(images))])
worst_image = int(np.argsort(overlap)[0])
harmed = int(np.sum(overlap < 0.5))
""",
    },
    "2_attack": {
        "margin_gradient": """
def margin_gradient(model, image, label):
    with tf.GradientTape() as tape:
        tape.watch(image)
        logits = model(image, training=False)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
        total = tf.reduce_sum(loss)
    return tape.gradient(total, image)
""",
        "project": """
def project(x, image, mask, eps):
    x = tf.clip_by_value(tf.clip_by_value(x, image - eps, image + eps), 0.0, 1.0)
    return tf.where(mask == 1, x, image)
""",
        "random_start": """
def random_start(image, mask, eps, seed):
    offset = tf.random.stateless_uniform(image.shape, seed=(seed, 0), minval=-eps, maxval=eps)
    return project(image + offset, image, mask, eps)
""",
        "pgd": """
def pgd(model, image, label, mask, eps, steps, alpha, seed=None):
    x = image if seed is None else random_start(image, mask, eps, seed)
    for _ in range(steps):
        x = project(x + alpha * tf.sign(margin_gradient(model, x, label)), image, mask, eps)
    return x
""",
        "numbers": """
attacked = la.PGD(eps=eps, steps=steps, norm="l2")(model, image, label, mask=mask).numpy()
read = model(attacked, training=False).numpy().argmax(axis=-1)
fooled_background = int(np.sum(natural_right & (read != label.numpy())))
hardest_hit = int(np.argmax(natural_right & (read != label.numpy())))
""",
    },
    "3_training": {
        "moved": """
def moved(mask, seed):
    rng = np.random.default_rng(int(seed))
    few = np.zeros(mask.shape, np.float32)
    for each, chosen in zip(np.asarray(mask), few, strict=True):
        chosen.flat[rng.choice(chosen.size, int(each.sum()), replace=False)] = 1
    return tf.constant(few)
""",
        "train_step": """
class WeightedTraining(keras.Model):
    def __init__(self, classifier, weight, moves=False):
        super().__init__()
        self.classifier, self.weight, self.moves = classifier, weight, moves
        self.built = True

    def train_step(self, data):
        inputs, label = data
        image, mask = inputs["image"], inputs["mask"]
        half = image.shape[0] // 2
        x_adv = attack(lambda x: self.classifier(x, training=False), image[:half], label[:half], mask[:half])
        mixed = tf.concat([x_adv, image[half:]], axis=0)
        with tf.GradientTape() as tape:
            logits = self.classifier(mixed, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits))
        weights = self.classifier.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}
""",
        "three": """
def train_three():
    models = {}
    for name, recipe in (("natural", "natural"), ("LAT", "LAT"), ("moved", "random mask")):
        models[name] = new_classifier()
        how = la.recipe(recipe, train, attack=la.single_step(eps), epochs=6, seed=0)
        la.train_classifier(models[name], **how)
    return models


trained = train_three()
""",
        "paired": """
def paired(first, second):
    return la.paired_difference(first, second)
""",
        "numbers": """
natural_change = la.paired_difference(losses(trained["natural"]), losses(trained["LAT"]))
attacked_change = la.paired_difference(losses(trained["natural"], attacked=True), losses(trained["LAT"], attacked=True))
place = la.paired_difference(losses(trained["moved"], attacked=True), losses(trained["LAT"], attacked=True))
""",
    },
    "4_defence": {
        "audit": """
def audit(attack, model, image, label, mask, eps):
    def asked(model, image, label, *, mask, seed):
        return attack(model, image, label, mask, eps)

    data = (np.asarray(image), np.asarray(label), np.asarray(mask))
    rows = la.verdicts.check(model, data, asked, region="background", eps=eps)
    passed = {row["check"]: row["outcome"] == "pass" for row in rows}
    return {
        "budget": passed["budget and range kept"],
        "range": passed["budget and range kept"],
        "mask": passed["foreground untouched"],
        "uphill": passed["accuracy does not rise"],
        "strong": passed["gradient beats noise"],
    }
""",
        "mended": """
def mended_pgd(model, image, label, mask, eps, steps, seed):
    points = [image]
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(points[-1])
            logits = model(points[-1], training=False)
            value = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits))
        gradient = tape.gradient(value, points[-1])
        x = points[-1] + 2.5 * eps / steps * mask * tf.sign(gradient)
        points.append(tf.clip_by_value(tf.clip_by_value(x, image - eps, image + eps), 0.0, 1.0))
    return points[-1]
""",
        "get_past": """
def get_past(model, image, label, mask, eps):
    return mended_pgd(model, image, label, mask, eps, 20, 0)
""",
    },
}

_KITS_PGD = 'la.PGD(eps=eps, norm="l2", loss="margin", steps=steps, step_size=alpha, random_start=False, keep="last")'
CALLS = {
    "1_background": {name: COPIED["1_background"][name] for name in ("threshold", "border", "errors")},
    "2_attack": {
        "margin_gradient": """
def margin_gradient(model, image, label):
    return la.losses.respond_with_gradient(model, image, tf.cast(label, tf.int64), climb="margin").gradient
""",
        "project": """
def project(x, image, mask, eps):
    return la.balls.project(x, image, mask == 1, eps, "l2")
""",
        "random_start": """
def random_start(image, mask, eps, seed):
    return la.PGD(eps=eps, norm="l2", steps=1, step_size=1e-6)(model, image, label, mask=mask, seed=seed)
""",
        "pgd": f"""
def pgd(model, image, label, mask, eps, steps, alpha, seed=None):
    return {_KITS_PGD}(model, image, label, mask=mask)
""",
    },
    "3_training": {
        "moved": """
def moved(mask, seed):
    return tf.constant(la.masks.random(np.asarray(mask), seed=int(seed), smoothness=2.0))
""",
        "train_step": """
class WeightedTraining(la.LocalizedAdversarialTraining):
    def __init__(self, classifier, weight, moves=False):
        attack = la.PGD(eps=eps, steps=3, keep="last")
        super().__init__(classifier, attack=attack, region="background", share=weight)

    def compile(self, optimizer):
        super().compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
""",
        "three": COPIED["3_training"]["three"],
        "paired": COPIED["3_training"]["paired"],
    },
    "4_defence": {
        "mended": """
def mended_pgd(model, image, label, mask, eps, steps, seed):
    return la.PGD(eps=eps, steps=steps)(model, image, label, mask=mask, seed=seed)
""",
        "get_past": """
def get_past(model, image, label, mask, eps):
    return la.PGD(eps=eps, steps=100, restarts=2)(model, image, label, mask=mask)
""",
    },
}
