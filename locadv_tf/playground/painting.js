// Painting the mask and drawing a digit: with a mouse, a finger or the keyboard.

"use strict";

const brush = { tool: "background" };
let cursor = { row: 0, column: 0 };
let byKeys = true; // whether the cursor is shown: not while a mouse or a finger paints
let last = null; // where the pointer was, while it paints
let undone = []; // what Undo goes back to

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
