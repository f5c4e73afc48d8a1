// The page comes to life: the steps of an attack one by one, the controls' wires, and the first state.

"use strict";

let timer = null; // while the steps play

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
