// The page: what is asked for (`state`), what the attack found (`results`), and how the two are shown and changed.

"use strict";

const $ = (id) => document.getElementById(id);
const collections = JSON.parse($("data").textContent);
const MARKERS = ["●", "■", "▲", "◆", "▼", "★"]; // natural, LAT and AT as in the figures of the lessons
const SLICE = 14; // milliseconds of work before the browser gets a turn

let state = firstState(collections);
let results = []; // one per model: its states from the start to the end, or null where there is no label yet
let stepsPerRun = 0; // of the attack that `results` are from
let run = 0; // attacks that were begun
let done = 0; // the last one that came to its end
let timer = null; // while the steps play
let saying = 0; // the timer of what is about to be said
let cursor = { row: 0, column: 0 };
let byKeys = true; // whether the cursor is shown: not while a mouse or a finger paints
const brush = { tool: "background" };
let undone = []; // what Undo goes back to
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

// Showing.

const shownStep = () => Math.min(state.shown ?? stepsPerRun, stepsPerRun);
const bestAt = (result) => bestOf(result.states[shownStep()]);
const className = (i) => here().classes[i];

/** What became of an image, in words and as a kind for colours: right, fooled, wrong. */
function judged(result) {
  const { natural, states } = result;
  const y = label();
  if (states === null) return { kind: "none", text: `reads ${className(natural.answer)}`, answer: natural.answer };
  const now = shownStep() === 0 ? natural : bestAt(result);
  const answer = now.answer;
  if (natural.answer !== y) {
    return { kind: "wrong", text: `wrong before the attack: ${className(natural.answer)}, not ${className(y)}`, answer };
  }
  if (now.fooled) return { kind: "fooled", text: `fooled: ${className(y)} → ${className(answer)}`, answer };
  return { kind: "right", text: `not fooled: still ${className(answer)}`, answer };
}

const SIGNS = { right: "✓", fooled: "✗", wrong: "✗", none: "?" };

function showResults() {
  const { shape, models } = here();
  const k = shownStep();
  const x = image();
  const allowed = allowedIn(mask(), state.region);
  const eps = state.eps / 255;
  const labelled = label() !== null;
  const top = roundUp(Math.max(...results.map((each) => (labelled ? Math.max(...each.states.map((s) => s.seen.loss).filter(Number.isFinite)) : 0))));
  results.forEach((result, i) => {
    const card = $("cards").children[i];
    const part = (selector) => card.querySelector(selector);
    const { kind, text } = judged(result);
    const best = labelled ? bestAt(result) : { ...result.natural, x, k: 0 };
    part(".answer").replaceChildren(sign(kind), ` ${text}`);
    part(".answer").className = `answer ${kind}`;
    paintImage(part(".attacked"), best.x, shape);
    paintChange(part(".change"), x, best.x, eps, shape);
    const moved = movedPixels(x, best.x, mask());
    part(".scale").textContent = `change, ${times(eps)}`;
    part(".moved").textContent = `Moved: ${pixels(moved[1])} of the background, ${moved[0]} of the foreground.`;
    part(".attacked").setAttribute("aria-label", `${models[i].name}: the attacked image, read as ${className(best.answer)}`);
    part(".change").setAttribute("aria-label", `${models[i].name}: the change, magnified; it moves ${pixels(moved[1])} of the background and ${moved[0]} of the foreground`);
    showBars(part("tbody"), result.natural.probabilities, best.probabilities);
    part(".curve").hidden = !labelled;
    if (labelled) {
      const losses = result.states.map((each) => each.seen.loss);
      paintLoss(part("svg"), losses, k, best.k, top);
      part("svg").setAttribute("aria-label", `${models[i].name}: the loss goes from ${losses[0].toFixed(2)} to ${losses.at(-1).toFixed(2)} in ${stepsPerRun} steps; now step ${k}, ${losses[k].toFixed(2)}`);
    }
  });
  showHero(x, eps, allowed);
  $("shown").max = stepsPerRun;
  $("shown").value = k;
  $("shown").setAttribute("aria-valuetext", `after step ${k} of ${stepsPerRun}`);
  $("shown-out").textContent = labelled ? `after step ${k} of ${stepsPerRun}` : "no attack yet";
  for (const [id, off] of Object.entries({ restart: k === 0, back: k === 0, next: k === stepsPerRun, all: k === stepsPerRun })) {
    $(id).setAttribute("aria-disabled", String(off || !labelled)); // not `disabled`: the focus would be lost
  }
}

function showHero(x, eps, allowed) {
  const { shape, models } = here();
  const [first] = results;
  const best = first.states === null ? { ...first.natural, x } : bestAt(first);
  paintImage($("hero-before"), x, shape);
  paintChange($("hero-change"), x, best.x, eps, shape);
  paintImage($("hero-after"), best.x, shape);
  const reads = (seen) => `${models[0].name}: ${className(seen.answer)}, ${percent(seen.probabilities[seen.answer])}\u00a0%`;
  $("hero-before-answer").textContent = reads(first.natural);
  $("hero-change-scale").textContent = `${times(eps)}, ${state.region}`;
  $("hero-after-answer").textContent = reads(best);
  $("hero-after-answer").className = judged(first).kind;
  $("hero-before").setAttribute("aria-label", `The image. ${reads(first.natural)}`);
  $("hero-change").setAttribute("aria-label", `The change, magnified, in the region ${state.region}`);
  $("hero-after").setAttribute("aria-label", `The attacked image. ${reads(best)}`);
  const may = allowed.reduce((sum, value) => sum + value, 0);
  $("verdict").textContent = label() === null
    ? inkOf().some((level) => level) ? "Say which digit you drew: then the attack begins." : "Draw a digit in the square. Then say which one it is."
    : `The image shows “${className(label())}”. The attack may change ${may} of ${allowed.length} pixels, each value by at most ${grey(state.eps)}.`;
  $("chips").replaceChildren(
    ...results.map((result, i) => {
      const { kind, text } = judged(result);
      const chip = document.createElement("li");
      const name = document.createElement("b");
      name.textContent = models[i].name;
      chip.className = kind;
      chip.append(sign(kind), " ", name, ` ${text}`);
      return chip;
    }),
  );
  $("bar").replaceChildren( // on a narrow screen the answers stay in sight; a screen reader has them above
    ...results.map((result, i) => {
      const { kind, answer } = judged(result);
      const chip = document.createElement("span");
      chip.className = kind;
      chip.append(sign(kind), ` ${models[i].name}: ${className(answer)}`);
      return chip;
    }),
  );
}

/** ✓ or ✗, for the eye; the words beside it say the same. */
function sign(kind) {
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.setAttribute("aria-hidden", "true");
  mark.textContent = SIGNS[kind];
  return mark;
}

const pixels = (count) => `${count} ${count === 1 ? "pixel" : "pixels"}`;

/** How many pixels moved where the mask is 0 and where it is 1. */
function movedPixels(before, after, mask) {
  const moved = [0, 0];
  const channels = before.length / mask.length;
  mask.forEach((value, pixel) => {
    for (let c = 0; c < channels; c++) {
      if (before[pixel * channels + c] !== after[pixel * channels + c]) {
        moved[value] += 1;
        break;
      }
    }
  });
  return moved;
}

/** A row per class, ten at most: those that matter most, before or after. */
function showBars(body, before, after) {
  const order = [...before.keys()].sort((a, b) => Math.max(before[b], after[b]) - Math.max(before[a], after[a]));
  const shown = order.slice(0, 10).sort((a, b) => a - b);
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((number, i) => {
    if (i === body.rows.length) {
      const row = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      row.append(head);
      for (const name of ["before", "after"]) row.insertCell().className = name;
    }
    const row = body.rows[i];
    const [head, left, right] = row.cells;
    head.textContent = className(number);
    left.textContent = percent(before[number]);
    right.textContent = percent(after[number]);
    row.style.setProperty("--before", before[number]);
    row.style.setProperty("--after", after[number]);
    row.className = number === label() ? "label" : "";
    if (number === label()) head.append(" ✓");
  });
}

/** Says the answers to a screen reader, once the hand rests. */
function say() {
  clearTimeout(saying);
  saying = setTimeout(() => {
    const said = results.map((result, i) => `${here().models[i].name}: ${judged(result).text}.`).join(" ");
    const step = shownStep() < stepsPerRun ? ` After step ${shownStep()} of ${stepsPerRun}.` : "";
    if ($("said").textContent !== said + step) $("said").textContent = said + step;
  }, 400);
}

// The controls.

function radios(holder, name, options, chosen, choose) {
  holder.querySelectorAll("label").forEach((old) => old.remove());
  options.forEach(([value, content, title]) => {
    const wrap = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name, value, checked: value === chosen });
    if (title) input.setAttribute("aria-label", title);
    input.addEventListener("change", () => choose(value));
    const face = document.createElement("span");
    face.append(content);
    wrap.append(input, face);
    holder.append(wrap);
  });
}

function check(holder, value) {
  holder.querySelectorAll("input").forEach((input) => (input.checked = input.value === String(value)));
}

/** Builds what depends on the data set: its images, its classes, a card for each model. */
function showSet() {
  results = []; // those of another set say nothing here
  clearTimeout(saying);
  const { shape, labels, classes, models, drawing } = here();
  const { image, backdrop } = open(here());
  const faces = labels.map((number, i) => {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    paintImage(canvas, image(i), shape);
    return [i, canvas, `${classes[number]}, image ${i + 1} of ${labels.length}`];
  });
  if (drawing !== null) faces.push([-1, "✎ Draw", "Draw one"]);
  radios($("images"), "image", faces, state.image, (value) => {
    if (value < 0) brush.tool = "ink";
    else if (drawn()) brush.tool = "background";
    Object.assign(state, { image: value, mask: null });
    undone = [];
    changed();
  });
  const choices = (select, texts, first) => {
    select.replaceChildren(...texts.map((text, i) => new Option(text, String(i))));
    if (first) select.prepend(new Option(first, ""));
  };
  choices($("label"), classes, "choose …");
  choices($("backdrop"), Array.from({ length: 10 }, (_, i) => String(i + 1)));
  $("backdrop-label").hidden = backdrop === null;
  $("eps").max = mostEps(here());
  const frame = $("card").content.firstElementChild;
  $("cards").replaceChildren(
    ...models.map((model, i) => {
      const card = frame.cloneNode(true);
      card.querySelector(".marker").textContent = MARKERS[i % MARKERS.length];
      card.querySelector(".name").textContent = model.name;
      card.querySelector(".about").textContent = model.about;
      return card;
    }),
  );
  const parts = models.map(({ name, type, rounding }) => `${name}: ${type}${rounding ? `, logits within ${rounding.toPrecision(1)}` : ""}`);
  $("exact").textContent = `The networks are those of Keras. Their weights are stored with 16 bits each where that changes next to nothing (${parts.join("; ")}). The attack starts at the image itself; the step size is 2.5 eps / steps.`;
  showMeasured(models);
}

function showMeasured(models) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  const cell = (row, text, kind = "td") => {
    const made = document.createElement(kind);
    made.textContent = text;
    row.append(made);
    return made;
  };
  const rows = models[0].measured;
  table.createCaption().textContent = `${here().title}: ${rows[0].n} test images, ${rows[1].attack}`;
  for (const text of ["classifier", ...rows.map(({ region }) => (region === "none" ? "no attack" : region))]) {
    cell(head, text, "th").scope = "col";
  }
  const body = table.createTBody();
  for (const model of models) {
    const row = body.insertRow();
    cell(row, model.name, "th").scope = "row";
    for (const each of model.measured) {
      cell(row, `${percent(each.accuracy)} [${percent(each.accuracy_low)}, ${percent(each.accuracy_high)}]`);
    }
  }
  $("measured").replaceChildren(table);
}

function showTools() {
  const masks = [["background", "Background"], ["foreground", "Foreground"]];
  const inks = drawn() ? [["ink", "Ink"], ["erase", "Eraser"]] : [];
  if (![...masks, ...inks].some(([tool]) => tool === brush.tool)) brush.tool = "background";
  const now = [...inks, ...masks];
  if ($("tools").querySelectorAll("input").length !== now.length) {
    radios($("tools"), "tool", now, brush.tool, (tool) => (brush.tool = tool));
  }
  check($("tools"), brush.tool);
}

function showControls() {
  check($("sets"), here().name);
  check($("images"), state.image);
  check($("regions"), state.region);
  $("drawn").hidden = !drawn();
  $("label").value = state.label === null ? "" : String(state.label);
  $("backdrop").value = String(state.backdrop);
  $("mask-heading").textContent = drawn() ? "Draw, and paint the mask" : "Paint the mask";
  showTools();
  $("eps").value = state.eps;
  $("eps-out").textContent = grey(state.eps);
  $("eps").setAttribute("aria-valuetext", grey(state.eps));
  $("steps").value = state.steps;
  $("steps-out").textContent = state.steps === 1 ? "1 step" : `${state.steps} steps`;
  $("undo").setAttribute("aria-disabled", String(undone.length === 0));
  showEditor();
}

function showEditor() {
  const now = mask();
  const share = now.reduce((sum, value) => sum + value, 0);
  const focused = document.activeElement === $("editor") && byKeys;
  paintEditor($("editor"), image(), here().shape, now, { showMask: $("show-mask").checked, cursor: focused ? cursor : null });
  $("editor").setAttribute("aria-label", `The image with its mask, ${here().shape[0]} rows and ${here().shape[1]} columns`);
  $("legend").replaceChildren(Object.assign(document.createElement("span"), { className: "swatch" }), ` background: ${share} of ${now.length} pixels${state.mask === null ? "" : ", painted by you"}`);
}

// Painting.

function remember() {
  undone.push({ mask: state.mask, ink: state.ink });
  if (undone.length > 100) undone.shift();
}

/** Paints around a point, in pixels of the image; `soft` ink fades at its edge, as in the data set. */
function dab(row, column) {
  const [height, width] = here().shape;
  const ink = brush.tool === "ink" || brush.tool === "erase";
  const radius = Number($("brush").value);
  const next = ink ? inkOf().slice() : mask().slice();
  for (let r = Math.max(0, Math.floor(row - radius - 2)); r <= Math.min(height - 1, row + radius + 2); r++) {
    for (let c = Math.max(0, Math.floor(column - radius - 2)); c <= Math.min(width - 1, column + radius + 2); c++) {
      const distance = Math.hypot(r + 0.5 - row, c + 0.5 - column);
      const at = r * width + c;
      if (!ink) {
        if (Math.max(Math.abs(r - Math.floor(row)), Math.abs(c - Math.floor(column))) <= radius) next[at] = brush.tool === "background" ? 1 : 0;
      } else if (brush.tool === "erase") {
        if (distance <= radius + 0.7) next[at] = 0;
      } else {
        const level = Math.round(LEVELS * Math.min(1, Math.max(0, 1.3 + 0.6 * radius - distance)));
        next[at] = Math.max(next[at], level);
      }
    }
  }
  if (ink) Object.assign(state, { ink: next, mask: null });
  else state.mask = next;
}

let last = null; // where the pointer was, while it paints

function place(event) {
  const box = $("editor").getBoundingClientRect();
  const [height, width] = here().shape;
  const side = Math.floor($("editor").width / Math.max(height, width)) / $("editor").width; // of a pixel, of the box
  return [(event.clientY - box.top) / (box.height * side), (event.clientX - box.left) / (box.width * side)];
}

function stroke(event) {
  for (const each of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
    const [row, column] = place(each);
    const from = last ?? [row, column];
    const parts = Math.max(1, Math.ceil(2 * Math.hypot(row - from[0], column - from[1])));
    for (let i = 1; i <= parts; i++) {
      dab(from[0] + ((row - from[0]) * i) / parts, from[1] + ((column - from[1]) * i) / parts);
    }
    last = [row, column];
  }
  changed({ keepStep: true });
}

const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const TOOLS = { b: "background", f: "foreground", i: "ink", e: "erase" };

function paintByKey(event) {
  const [height, width] = here().shape;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && key === "z") undo();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (key in KEYS) {
    cursor.row = Math.min(height - 1, Math.max(0, cursor.row + KEYS[key][0]));
    cursor.column = Math.min(width - 1, Math.max(0, cursor.column + KEYS[key][1]));
  } else if (key === "Home") cursor.column = 0;
  else if (key === "End") cursor.column = width - 1;
  else if (key in TOOLS && [...$("tools").querySelectorAll("input")].some((input) => input.value === TOOLS[key])) {
    brush.tool = TOOLS[key];
    check($("tools"), brush.tool);
  } else if (key !== " " && key !== "Enter") return;
  event.preventDefault();
  byKeys = true;
  if (key === " " || key === "Enter" || (event.shiftKey && key in KEYS)) {
    remember();
    dab(cursor.row + 0.5, cursor.column + 0.5);
    changed({ keepStep: true });
  }
  showEditor();
  const at = cursor.row * width + cursor.column;
  const value = image().subarray(at * here().shape[2], (at + 1) * here().shape[2]);
  const bright = percent(value.reduce((sum, each) => sum + each, 0) / value.length);
  $("cell").textContent = `Row ${cursor.row + 1}, column ${cursor.column + 1}: ${mask()[at] ? "background" : "foreground"}, brightness ${bright} %. Brush: ${brush.tool}.`;
}

function undo() {
  if (!undone.length) return;
  Object.assign(state, undone.pop());
  changed({ keepStep: true });
}

function wholeMask(kind) {
  remember();
  const now = mask();
  state.mask = { own: () => null, swap: () => now.map((value) => 1 - value), all: () => now.map(() => 1), none: () => now.map(() => 0) }[kind]();
  changed({ keepStep: true });
}

// Steps.

function show(k) {
  if (label() === null || results.length === 0) return;
  state.shown = k >= stepsPerRun ? null : Math.max(0, k);
  showResults();
  keepLink();
  say();
}

function play() {
  if (timer !== null) return stopPlaying();
  if (label() === null || results.length === 0) return;
  if (shownStep() === stepsPerRun) show(0);
  $("play").setAttribute("aria-pressed", "true");
  $("play").textContent = "Stop";
  timer = setInterval(() => {
    show(shownStep() + 1);
    if (shownStep() === stepsPerRun) stopPlaying();
  }, 250);
}

function stopPlaying() {
  clearInterval(timer);
  timer = null;
  $("play").setAttribute("aria-pressed", "false");
  $("play").textContent = "Play";
}

// Wiring.

function start() {
  radios($("sets"), "set", collections.map(({ name, title }) => [name, title]), here().name, (name) => {
    state = firstState(collections, collections.findIndex((each) => each.name === name));
    undone = [];
    showSet();
    changed();
  });
  $("sets").hidden = collections.length === 1;
  radios($("regions"), "region", REGIONS.map((region) => [region, region === "full" ? "full image" : region]), state.region, (region) => {
    state.region = region;
    changed({ keepStep: true });
  });
  const on = (id, event, act) => $(id).addEventListener(event, act);
  on("eps", "input", () => ((state.eps = Number($("eps").value)), changed({ keepStep: true })));
  on("steps", "input", () => ((state.steps = Number($("steps").value)), changed()));
  on("label", "change", () => ((state.label = $("label").value === "" ? null : Number($("label").value)), changed()));
  on("backdrop", "change", () => ((state.backdrop = Number($("backdrop").value)), changed()));
  on("clear", "click", () => (remember(), Object.assign(state, { ink: null, mask: null, label: null }), changed()));
  on("undo", "click", undo);
  document.querySelectorAll("[data-mask]").forEach((button) => button.addEventListener("click", () => wholeMask(button.dataset.mask)));
  on("show-mask", "change", showEditor);
  on("editor", "keydown", paintByKey);
  on("editor", "focus", showEditor);
  on("editor", "blur", showEditor);
  on("editor", "pointerdown", (event) => {
    if (event.button !== 0) return;
    $("editor").setPointerCapture(event.pointerId);
    byKeys = false;
    remember();
    last = null;
    stroke(event);
  });
  on("editor", "pointermove", (event) => $("editor").hasPointerCapture(event.pointerId) && stroke(event));
  on("restart", "click", () => (stopPlaying(), show(0)));
  on("back", "click", () => (stopPlaying(), show(shownStep() - 1)));
  on("next", "click", () => (stopPlaying(), show(shownStep() + 1)));
  on("all", "click", () => (stopPlaying(), show(stepsPerRun)));
  on("play", "click", play);
  on("shown", "input", () => (stopPlaying(), show(Number($("shown").value))));
  on("reset", "click", () => ((state = firstState(collections, state.data)), (undone = []), showSet(), changed()));
  on("copy", "click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      $("copied").textContent = "Copied.";
    } catch {
      $("copied").textContent = "Copy the address of this page: it is the link.";
    }
  });
  addEventListener("hashchange", () => load(location.hash.slice(1)));
  load(location.hash.slice(1));
}

function load(link) {
  state = decodeLink(link, collections);
  brush.tool = drawn() ? "ink" : "background";
  undone = [];
  showSet();
  changed({ keepStep: true });
}

// For tests and the curious: what the page holds now.
window.playground = {
  get run() {
    return run;
  },
  get done() {
    return done;
  },
  get state() {
    return { ...state, mask: [...mask()], label: label() };
  },
  get results() {
    return results.map((result, i) => ({
      name: here().models[i].name,
      ...judged(result),
      natural: result.natural.answer,
      image: [...image()],
      attacked: result.states === null ? null : [...bestAt(result).x],
      allowed: [...allowedIn(mask(), state.region)],
      milliseconds: result.milliseconds,
    }));
  },
};

addEventListener("error", (event) => {
  $("problem").hidden = false;
  $("problem").textContent = `Something in this page is broken: ${event.message}. Reload it without the part after “#”.`;
});
start();
