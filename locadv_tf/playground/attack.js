// Projected gradient descent in a region (locadv_tf/attacks/pgd.py and loop.py), for one image, step by step.
//
// The rules are those of the kit: where no change is allowed the image stays as it is, bit for bit; elsewhere it stays
// within eps and in [0, 1]; a broken gradient moves nothing; of the points that the steps reached the best one counts:
// fooled before not fooled, then the higher loss. The starting point is no candidate.

"use strict";

const REGIONS = ["background", "foreground", "full"];

/** Where an attack on a region may change an image: a Uint8Array with a 1 for each such pixel. The mask: 1 = background. */
function allowedIn(mask, region) {
  if (!REGIONS.includes(region)) throw new Error(`region ${region} is unknown; expected one of ${REGIONS}`);
  return Uint8Array.from(mask, (value) => (region === "full" || (value === 1) === (region === "background") ? 1 : 0));
}

/**
 * The start of an attack.
 *
 * network: from `makeNetwork`. image: Float32Array in [0, 1]. label: the true class. allowed: from `allowedIn`.
 * eps: the budget in pixel units of [0, 1]. steps: how many. stepSize: 2.5 eps / steps unless given. start: a point to
 * start from, which is projected first; the image itself unless given.
 */
function beginAttack(network, image, label, allowed, { eps, steps, stepSize, start }) {
  const attack = {
    network, image, label, allowed, steps,
    eps: Math.fround(eps),
    alpha: Math.fround(stepSize === undefined ? (2.5 * eps) / steps : stepSize),
    channels: image.length / allowed.length,
  };
  const x = project(attack, start === undefined ? image : start);
  const first = network.respondWithGradient(x, label);
  return { ...attack, x, k: 0, seen: { ...first, gradient: first.gradient.slice() }, best: null, nonfinite: false };
}

/** One step further: a new state. The old one stays as it is, so that one can go back. */
function stepAttack(state) {
  const { network, label, seen, alpha } = state;
  const raw = new Float32Array(state.x.length);
  let nonfinite = state.nonfinite;
  for (let i = 0; i < raw.length; i++) {
    const slope = seen.gradient[i];
    const sound = Number.isFinite(slope);
    if (!sound) nonfinite = true;
    raw[i] = state.x[i] + (sound ? alpha * Math.sign(slope) : 0); // Madry et al. 2018, eq. 4
  }
  const x = project(state, raw);
  const k = state.k + 1;
  const now = network.respondWithGradient(x, label);
  const point = { ...now, gradient: now.gradient.slice(), x, k };
  const best = state.best === null || better(point, state.best) ? point : state.best;
  return { ...state, x, k, seen: point, best, nonfinite };
}

/** All steps: the states from the start to the end, `steps + 1` of them. */
function runAttack(...given) {
  const states = [beginAttack(...given)];
  for (let k = 0; k < states[0].steps; k++) states.push(stepAttack(states[k]));
  return states;
}

/** What the attack would return now: the best point that its steps reached; before the first step, the start. */
function bestOf(state) {
  return state.best === null ? { ...state.seen, x: state.x, k: 0 } : state.best;
}

/** Whether a point is better: fooled before not fooled, then the higher loss. A NaN loss counts as high. */
function better(point, best) {
  return point.fooled === best.fooled ? !(point.loss <= best.loss) : point.fooled;
}

/** Π: to the eps-ball around the image, to [0, 1], and back to the image where no change is allowed. */
function project({ image, allowed, eps, channels }, point) {
  const x = new Float32Array(image.length);
  for (let i = 0; i < x.length; i++) {
    const low = Math.fround(image[i] - eps); // float32, as TensorFlow calculates
    const high = Math.fround(image[i] + eps);
    const inside = Math.min(Math.max(point[i], low), high);
    x[i] = allowed[(i / channels) | 0] ? Math.min(Math.max(inside, 0), 1) : image[i];
  }
  return x;
}

if (typeof module !== "undefined") {
  module.exports = { REGIONS, allowedIn, beginAttack, stepAttack, runAttack, bestOf, better };
}
