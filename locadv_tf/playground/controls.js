// The controls: built for a data set, and set to what the state says.

"use strict";

const MARKERS = ["●", "■", "▲", "◆", "▼", "★"]; // natural, LAT and AT as in the figures of the lessons

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
