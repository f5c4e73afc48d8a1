// How the results are shown: the verdicts, the pictures, the classes' bars, the loss, and what a screen reader hears.

"use strict";

let saying = 0; // the timer of what is about to be said

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
