// The kit's rules for attacks (DESIGN.md) and the page's links, over many generated cases. Run: node --test FILE

"use strict";

const assert = require("node:assert");
const path = require("node:path");
const test = require("node:test");

const scripts = path.resolve(__dirname, "../../locadv_tf/playground");
const { makeNetwork } = require(path.join(scripts, "network.js"));
const { REGIONS, allowedIn, beginAttack, bestOf, better, runAttack, stepAttack } = require(path.join(scripts, "attack.js"));
const { decodeLink, encodeLink, firstState, packBits, unpackBits } = require(path.join(scripts, "link.js"));

const CASES = 200;

/** Random numbers that repeat: mulberry32. */
function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A case: a small network, an image with corners of the range in it, a mask, a budget. */
function generated(seed) {
  const random = randomNumbers(seed);
  const pick = (...options) => options[Math.floor(random() * options.length)];
  const numbers = (count, draw) => Float32Array.from({ length: count }, draw);
  const [height, width, channels] = [2 + Math.floor(random() * 5), 2 + Math.floor(random() * 5), pick(1, 3)];
  const [filters, classes] = [3, 4];
  const around = () => 2 * random() - 1;
  const convolved = [Math.ceil(height / 2), Math.ceil(width / 2)];
  const layers = [
    { kind: "affine", scale: Array(channels).fill(2), offset: Array(channels).fill(-1) },
    {
      kind: "conv", size: [3, 3], strides: [2, 2], padding: "same",
      kernel: numbers(9 * channels * filters, around), bias: numbers(filters, around),
    },
    { kind: "relu" },
    { kind: "dense", kernel: numbers(convolved[0] * convolved[1] * filters * classes, around), bias: numbers(classes, around) },
  ];
  const image = numbers(height * width * channels, () => pick(0, 1, random(), random()));
  const sort = pick("mixed", "mixed", "mixed", "all", "none");
  const mask = Uint8Array.from({ length: height * width }, () => ({ mixed: random() < 0.6 ? 1 : 0, all: 1, none: 0 })[sort]);
  const options = { eps: pick(0, 1 / 255, 4 / 255, 0.1, 0.3, 1), steps: pick(1, 2, 5, 8) };
  const start = random() < 0.5 ? undefined : numbers(image.length, () => 3 * random() - 1); // far outside, too
  const shape = [height, width, channels];
  return {
    network: makeNetwork(layers, shape), layers, shape, image, mask, options, start,
    label: Math.floor(random() * classes), region: pick(...REGIONS),
  };
}

function each(check) {
  for (let seed = 0; seed < CASES; seed++) {
    try {
      check(generated(seed));
    } catch (problem) {
      problem.message = `case ${seed}: ${problem.message}`;
      throw problem;
    }
  }
}

const attacked = ({ network, image, label, mask, region, options, start }) =>
  runAttack(network, image, label, allowedIn(mask, region), { ...options, start });

test("a region is what its name says", () => {
  const mask = Uint8Array.from([1, 0, 1]);
  assert.deepStrictEqual(REGIONS.map((region) => [...allowedIn(mask, region)]), [[1, 0, 1], [0, 1, 0], [1, 1, 1]]);
  assert.throws(() => allowedIn(mask, "sky"), /sky is unknown/);
});

test("rules 1, 2 and 3: no point leaves the region, the budget or [0, 1]", () => {
  each((given) => {
    const allowed = allowedIn(given.mask, given.region);
    for (const state of attacked(given)) {
      for (const x of [state.x, bestOf(state).x]) {
        x.forEach((value, i) => {
          const before = given.image[i];
          if (!allowed[Math.floor(i / given.shape[2])]) assert.ok(Object.is(value, before), "a pixel outside moved");
          assert.ok(Math.abs(value - before) <= given.options.eps + 1.2e-7, `moved by ${value - before}`);
          assert.ok(value >= 0 && value <= 1, `left [0, 1]: ${value}`);
        });
      }
    }
  });
});

test("the attack does move something where it may", () => {
  let moved = 0;
  each((given) => (moved += bestOf(attacked(given).at(-1)).x.some((value, i) => value !== given.image[i]) ? 1 : 0));
  assert.ok(moved > CASES / 2, `${moved} of ${CASES}`);
});

test("rule 4: no budget or nothing allowed returns the image itself", () => {
  each((given) => {
    const none = { ...given, mask: given.mask.map(() => 0), region: "background" };
    const broke = { ...given, options: { ...given.options, eps: 0 } };
    for (const still of [none, broke]) assert.deepStrictEqual(bestOf(attacked(still).at(-1)).x, given.image);
  });
});

test("rule 5: one step of size eps is FGSM", () => {
  each(({ network, image, label, mask, region, options: { eps } }) => {
    const allowed = allowedIn(mask, region);
    const found = bestOf(runAttack(network, image, label, allowed, { eps, steps: 1, stepSize: eps }).at(-1)).x;
    const gradient = network.respondWithGradient(image, label).gradient.slice();
    const channels = image.length / mask.length;
    const expected = image.map((value, i) => {
      const moved = Math.min(Math.max(Math.fround(value + Math.fround(eps) * Math.sign(gradient[i])), 0), 1);
      return allowed[Math.floor(i / channels)] ? moved : value;
    });
    found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= 1.2e-7));
  });
});

test("rule 8: the best point of all steps counts, fooled first, then the higher loss", () => {
  each((given) => {
    const states = attacked(given);
    const points = states.slice(1).map(({ seen }) => seen);
    const best = bestOf(states.at(-1));
    assert.ok(points.includes(best));
    assert.strictEqual(best.fooled, points.some(({ fooled }) => fooled));
    for (const point of points) assert.ok(!better(point, best));
    assert.strictEqual(given.network.respond(best.x, given.label).loss, best.loss);
  });
});

test("rule 10: where a gradient is broken the pixel stays, and the image is flagged", () => {
  each((given) => {
    const broken = { ...given.network, respondWithGradient: (x, label) => {
      const seen = given.network.respondWithGradient(x, label);
      return { ...seen, gradient: seen.gradient.map((slope, i) => [NaN, Infinity, -Infinity][i] ?? slope) };
    } };
    const end = attacked({ ...given, network: broken, start: undefined }).at(-1);
    for (let i = 0; i < 2; i++) assert.strictEqual(end.x[i], given.image[i]);
    assert.ok(end.nonfinite);
    assert.ok(!attacked(given).at(-1).nonfinite);
  });
});

test("a state stays as it is: one can go back and step again", () => {
  each(({ network, image, label, mask, region, options }) => {
    const begin = beginAttack(network, image, label, allowedIn(mask, region), options);
    const before = begin.x.slice();
    const first = stepAttack(begin);
    stepAttack(first);
    assert.deepStrictEqual(begin.x, before);
    assert.deepStrictEqual(stepAttack(begin).x, first.x);
  });
});

const COLLECTIONS = ["grey", null].map((drawing, i) => ({
  name: `set ${i} & #?<`, drawing, shape: [5, 7, i ? 3 : 1], labels: [0, 1, 2], classes: ["a", "b", "c"], start: 1, eps: 4, steps: 20,
}));

test("a link gives back the state that it was made of", () => {
  for (let seed = 0; seed < CASES; seed++) {
    const random = randomNumbers(seed);
    const some = (value) => (random() < 0.5 ? null : value());
    const data = Math.floor(2 * random());
    const isDrawn = data === 0 && random() < 0.5;
    const state = {
      ...firstState(COLLECTIONS, data),
      image: isDrawn ? -1 : Math.floor(3 * random()),
      eps: Math.floor(32 * random()) / 2, steps: 1 + Math.floor(99 * random()),
      region: REGIONS[Math.floor(3 * random())],
      mask: some(() => Uint8Array.from({ length: 35 }, () => (random() < 0.5 ? 1 : 0))),
    };
    state.shown = some(() => Math.floor(random() * state.steps));
    if (isDrawn) {
      state.label = some(() => Math.floor(3 * random()));
      state.backdrop = Math.floor(10 * random());
      state.ink = some(() => Uint8Array.from({ length: 35 }, () => Math.floor(16 * random())));
    }
    assert.deepStrictEqual(decodeLink(encodeLink(state, COLLECTIONS), COLLECTIONS), state);
  }
});

test("whatever a link holds, the state is a sound one", () => {
  const values = ["", "-1", "-2", "1e9", "NaN", "0.5", "null", "<script>", "%", "__proto__", "AAAA", "A".repeat(9999), "999999999999"];
  const names = ["data", "image", "eps", "steps", "region", "shown", "mask", "ink", "label", "backdrop", "constructor"];
  for (const name of names) {
    for (const value of values) {
      for (const rest of ["", "&image=-1", `&data=${encodeURIComponent(COLLECTIONS[1].name)}`]) {
        const state = decodeLink(`${name}=${value}${rest}`, COLLECTIONS);
        const { drawing, shape } = COLLECTIONS[state.data];
        assert.ok(Number.isInteger(state.image) && state.image >= (drawing ? -1 : 0) && state.image < 3);
        assert.ok(state.eps >= 0 && state.eps <= 64 && state.steps >= 1 && state.steps <= 100 && REGIONS.includes(state.region));
        assert.ok(state.shown === null || (state.shown >= 0 && state.shown <= state.steps));
        assert.ok(state.label === null || state.label < 3);
        for (const plane of [state.mask, state.ink]) assert.ok(plane === null || plane.length === shape[0] * shape[1]);
      }
    }
  }
});

test("bits survive packing", () => {
  for (let count = 1; count < 40; count++) {
    const random = randomNumbers(count);
    const bits = Uint8Array.from({ length: count }, () => (random() < 0.5 ? 1 : 0));
    assert.deepStrictEqual(unpackBits(packBits(bits), count), bits);
  }
});
