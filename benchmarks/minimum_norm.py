"""Two ways to the smallest eps per image, on the same images: bisection with PGD, and FMN in one run.

    python benchmarks/minimum_norm.py [--dataset digits] [--images 400] [--seed 0]

prints a table: the median eps, on how many images either found the smaller change, and the gradient evaluations.
"""

import argparse

import numpy as np

import locadv_tf as la
from locadv_tf.engine import smallest_eps

REGIONS = ("background", "full")
STEPS = (30, 100)  # of FMN
LARGEST, PRECISION = 0.5, 0.5 / 255


def main(argv=None):
    """Trains one classifier naturally, runs both, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits", help="a grey data set (default: digits, embedded)")
    parser.add_argument("--images", type=int, default=400, help="test images, at most (default: 400)")
    parser.add_argument("--epochs", type=int, default=10, help="of natural training (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="what everything random follows from (default: 0)")
    asked = parser.parse_args(argv)
    data = la.to_arrays(la.load_data(asked.dataset, "test", limit=asked.images))
    model = la.small_cnn(data[0].shape[1:], len(la.class_names(asked.dataset)), seed=asked.seed)
    attack = la.PGD(eps=LARGEST, steps=20)
    train = la.load_data(asked.dataset, "train")
    la.train_classifier(model, train, attack=attack, share=0, epochs=asked.epochs, seed=asked.seed)

    print("| region | attack | median eps | smaller than bisection's | larger | gradient evaluations per image |")
    print("|---|---|---|---|---|---|")
    for region in REGIONS:
        bisected, evaluations = counted(model, data, attack, region, asked.seed)
        print(row(region, f"{attack.name}, bisected", bisected, bisected, evaluations))
        for steps in STEPS:
            found = la.smallest_eps(model, data, la.FMN(eps=LARGEST, steps=steps), region=region, seed=asked.seed)
            print(row(region, f"FMN-{steps}", found, bisected, steps))
    about = f"{asked.dataset}, n = {len(data[1])}, natural training, largest eps {la.eps_255(LARGEST)}"
    print(f"\n{about}, seed {asked.seed}; smaller, larger: by more than {la.eps_255(PRECISION)}.")


def counted(model, data, attack, region, seed):
    """What bisection finds, and how many gradient evaluations per image it takes."""
    spent, stream, run = [], smallest_eps.attack_stream, smallest_eps.run_attack

    def watched_stream(*given, **options):
        for jobs in stream(*given, **options):
            spent.append(jobs["evaluations"].sum())
            yield jobs

    def watched_run(*given, **options):
        result = run(*given, **options)
        spent.append(result.gradient_evaluations)
        return result

    smallest_eps.attack_stream, smallest_eps.run_attack = watched_stream, watched_run
    try:
        found = la.smallest_eps(model, data, attack, region=region, precision=PRECISION, seed=seed)
    finally:
        smallest_eps.attack_stream, smallest_eps.run_attack = stream, run
    return found, sum(spent) / len(found)


def row(region, name, found, bisected, evaluations):
    """A line of the table; images that one of the two did not fool count as larger or smaller, too."""
    with np.errstate(invalid="ignore"):  # infinite minus infinite: neither is smaller
        smaller, larger = (found < bisected - PRECISION).mean(), (found > bisected + PRECISION).mean()
    shares = f"{100 * smaller:.1f} % | {100 * larger:.1f} %" if found is not bisected else "– | –"
    return f"| {region} | {name} | {la.eps_255(np.median(found))} | {shares} | {evaluations:.0f} |"


if __name__ == "__main__":
    main()
