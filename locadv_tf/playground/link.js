// A state of the page as text, for the end of its address, and back. A link may come from anybody: whatever is missing,
// unknown or out of range in it gets its usual value.

"use strict";

const LEVELS = 15; // of ink, in a drawing
const MOST_STEPS = 100;

/** The state that the page opens with. Numbers of grey levels are n of n/255. */
function firstState(collections, data = 0) {
  const { start, eps, steps } = collections[data];
  // image: -1 is the drawing. mask: null is the image's own. shown: the step that is looked at, null the last one.
  return {
    data, image: start, label: null, ink: null, backdrop: 0, mask: null, region: "background", eps, steps, shown: null,
  };
}

/** The largest eps that the slider gives, n of n/255. */
function mostEps({ eps, shape }) {
  return Math.min(255, Math.max(shape[2] === 1 ? 64 : 16, 2 * Math.ceil(eps)));
}

function encodeLink(state, collections) {
  const link = new URLSearchParams({ data: collections[state.data].name, image: state.image, eps: state.eps });
  link.set("steps", state.steps);
  link.set("region", state.region);
  if (state.shown !== null) link.set("shown", state.shown);
  if (state.mask !== null) link.set("mask", toText(packBits(state.mask)));
  if (state.image < 0) {
    link.set("backdrop", state.backdrop);
    if (state.label !== null) link.set("label", state.label);
    if (state.ink !== null) link.set("ink", toText(packHalves(state.ink)));
  }
  return link.toString();
}

function decodeLink(text, collections) {
  const link = new URLSearchParams(text);
  const data = Math.max(0, collections.findIndex((each) => each.name === link.get("data")));
  const { shape, labels, classes, drawing } = collections[data];
  const pixels = shape[0] * shape[1];
  const state = firstState(collections, data);
  const number = (name, low, high, otherwise, whole = true) => {
    const value = link.get(name) === null || link.get(name) === "" ? NaN : Number(link.get(name));
    const fits = value >= low && value <= high && (!whole || Number.isInteger(value));
    return fits ? value : otherwise;
  };
  const bytes = (name, count) => {
    try {
      const found = fromText(link.get(name) || "");
      return found.length === count ? found : null;
    } catch {
      return null; // no base64
    }
  };
  state.image = number("image", drawing === null ? 0 : -1, labels.length - 1, state.image);
  state.eps = number("eps", 0, mostEps(collections[data]), state.eps, false);
  state.steps = number("steps", 1, MOST_STEPS, state.steps);
  if (REGIONS.includes(link.get("region"))) state.region = link.get("region");
  state.shown = number("shown", 0, state.steps, null);
  const mask = bytes("mask", Math.ceil(pixels / 8));
  if (mask !== null) state.mask = unpackBits(mask, pixels);
  if (state.image < 0) {
    state.backdrop = number("backdrop", 0, 9, 0);
    state.label = number("label", 0, classes.length - 1, null);
    const ink = bytes("ink", Math.ceil(pixels / 2));
    state.ink = ink === null ? null : unpackHalves(ink, pixels);
  }
  return state;
}

/** Eight zeros and ones in a byte, the first one in its highest bit. */
function packBits(bits) {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, i) => (bytes[i >> 3] |= bit << (7 - (i & 7))));
  return bytes;
}

function unpackBits(bytes, count) {
  return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
}

/** Two numbers from 0 to 15 in a byte. */
function packHalves(values) {
  const bytes = new Uint8Array(Math.ceil(values.length / 2));
  values.forEach((value, i) => (bytes[i >> 1] |= value << (i & 1 ? 0 : 4)));
  return bytes;
}

function unpackHalves(bytes, count) {
  return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 1] >> (i & 1 ? 0 : 4)) & 15);
}

function toText(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function fromText(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
}

if (typeof module !== "undefined") {
  globalThis.REGIONS ??= require("./attack.js").REGIONS; // in the page all scripts are one
  module.exports = { LEVELS, firstState, mostEps, encodeLink, decodeLink, packBits, unpackBits };
}
