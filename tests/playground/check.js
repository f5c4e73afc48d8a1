// What the page's JavaScript says: reads tasks as JSON from a file and writes the answers as JSON.
//   {layers, type?, shape, images, labels}            → {logits, gradients}
//   the same with {masks, region, eps, steps, starts?}  → {attacked, losses, fooled}

"use strict";

const fs = require("node:fs");
const path = require("node:path");

const [, , scripts, file] = process.argv;
const { makeNetwork, unpackNetwork } = require(path.join(scripts, "network.js"));
const { allowedIn, bestOf, runAttack } = require(path.join(scripts, "attack.js"));

const task = JSON.parse(fs.readFileSync(file, "utf8"));
const network = task.type ? unpackNetwork(task, task.shape) : makeNetwork(task.layers, task.shape);
const images = task.images.map((image) => Float32Array.from(image));
let answer;
if (task.masks) {
  const bests = images.map((image, i) => {
    const options = { eps: task.eps, steps: task.steps };
    if (task.starts) options.start = Float32Array.from(task.starts[i]);
    return bestOf(runAttack(network, image, task.labels[i], allowedIn(task.masks[i], task.region), options).at(-1));
  });
  answer = {
    attacked: bests.map(({ x }) => [...x]),
    losses: bests.map(({ loss }) => loss),
    fooled: bests.map(({ fooled }) => fooled),
  };
} else {
  const seen = images.map((image, i) => {
    const { logits, gradient } = network.respondWithGradient(image, task.labels[i]);
    return { logits: [...logits], gradient: [...gradient] };
  });
  answer = { logits: seen.map(({ logits }) => logits), gradients: seen.map(({ gradient }) => gradient) };
}
process.stdout.write(JSON.stringify(answer));
