// What is asked for (`state`), and what the attack on it found (`results`).

"use strict";

const $ = (id) => document.getElementById(id);
const collections = JSON.parse($("data").textContent);
const SLICE = 14; // milliseconds of work before the browser gets a turn

let state = firstState(collections);
let results = []; // one per model: its states from the start to the end, or null where there is no label yet
let stepsPerRun = 0; // of the attack that `results` are from
let run = 0; // attacks that were begun
let done = 0; // the last one that came to its end
const unpacked = new Map(); // a data set's images, masks and networks, made when it is first shown

const here = () => collections[state.data];
const drawn = () => state.image < 0;
const grey = (eps) => `${Number(eps.toFixed(2))}/255`;
const times = (eps) => `× ${magnified(eps) < 10 ? Number(magnified(eps).toFixed(1)) : Math.round(magnified(eps))}`;
const percent = (share) => Math.round(100 * share);

function open(collection) {
  if (!unpacked.has(collection)) {
    const [height, width, channels] = collection.shape;
    const floatsOf = (text) => Float32Array.from(fromBase64(text), (level) => Math.fround(level / 255));
    const bits = fromBase64(collection.masks);
    const rowBytes = Math.ceil((height * width) / 8);
    const each = (values, size) => (i) => values.subarray(i * size, (i + 1) * size);
    unpacked.set(collection, {
      image: each(floatsOf(collection.images), height * width * channels),
      mask: (i) => unpackBits(bits.subarray(i * rowBytes, (i + 1) * rowBytes), height * width),
      backdrop: collection.backdrops === null ? null : each(floatsOf(collection.backdrops), height * width * channels),
      networks: collection.models.map((model) => unpackNetwork(model, collection.shape)),
    });
  }
  return unpacked.get(collection);
}

// What is attacked.

function image() {
  const { image, backdrop } = open(here());
  if (!drawn()) return image(state.image);
  const ink = inkOf();
  if (backdrop === null) return Float32Array.from(ink, (level) => Math.fround(level / LEVELS));
  const ground = backdrop(state.backdrop);
  let light = 0; // a digit that stands out: bright on a dark backdrop, dark on a bright one
  for (const value of ground) light += value / ground.length;
  const colour = light < 0.5 ? [1, 0.95, 0.8] : [0.05, 0.05, 0.2];
  return ground.map((value, i) => (ink[Math.floor(i / 3)] > LEVELS / 2 ? colour[i % 3] : value));
}

/** The mask that belongs to the image: of a drawing, what the ink does not reach (values up to 0.1, as in the kit). */
function ownMask() {
  if (!drawn()) return open(here()).mask(state.image);
  const limit = here().drawing === "grey" ? 0.1 * LEVELS : LEVELS / 2;
  return Uint8Array.from(inkOf(), (level) => (level > limit ? 0 : 1));
}

const mask = () => state.mask ?? ownMask();
const inkOf = () => state.ink ?? new Uint8Array(here().shape[0] * here().shape[1]);
const label = () => (drawn() ? state.label : here().labels[state.image]);

// Attacking: anew whenever something was changed, in slices of time, so that the page never stops.

async function attack() {
  const mine = (run += 1);
  const found = [];
  const [x, allowed, y] = [image(), allowedIn(mask(), state.region), label()];
  const options = { eps: state.eps / 255, steps: state.steps };
  let since = performance.now();
  for (const network of open(here()).networks) {
    if (y === null) {
      found.push({ network, states: null, natural: network.respond(x, 0), milliseconds: 0 });
      continue;
    }
    let milliseconds = 0;
    const states = [];
    while (states.length <= state.steps) {
      const before = performance.now();
      states.push(states.length ? stepAttack(states.at(-1)) : beginAttack(network, x, y, allowed, options));
      milliseconds += performance.now() - before;
      if (performance.now() - since > SLICE) {
        await new Promise((next) => setTimeout(next));
        if (mine !== run) return; // something newer is asked for
        since = performance.now();
      }
    }
    found.push({ network, states, natural: states[0].seen, milliseconds });
  }
  results = found;
  stepsPerRun = state.steps;
  done = mine;
  showResults();
  say();
}

/** After a change of the state: the controls, the link, and a new attack. */
function changed({ keepStep = false } = {}) {
  if (!keepStep) state.shown = null;
  stopPlaying();
  showControls();
  keepLink();
  attack();
}

function keepLink() {
  const link = `#${encodeLink(state, collections)}`;
  try {
    history.replaceState(null, "", link);
  } catch {
    location.hash = link; // some browsers allow no replaceState for a file
  }
}
