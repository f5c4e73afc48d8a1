// What is drawn: images, the change, the mask, the loss. All of it from numbers; no text of a data set comes here.

"use strict";

/** An image, values in [0, 1], on a canvas of its own size. */
function paintImage(canvas, image, [height, width, channels]) {
  paint(canvas, height, width, (pixel) => {
    const at = pixel * channels;
    return channels === 1 ? [image[at], image[at], image[at]] : [image[at], image[at + 1], image[at + 2]];
  });
}

/** How often a change is magnified: so that eps goes from the middle to the end of the scale. */
function magnified(eps) {
  return eps > 0 ? 1 / (2 * eps) : 1;
}

/** A change, magnified. Grey images: blue is darker, orange is brighter. Colour images: around grey. */
function paintChange(canvas, image, attacked, eps, [height, width, channels]) {
  const factor = magnified(eps);
  const rest = [0.93, 0.93, 0.93], up = [0.84, 0.37, 0], down = [0, 0.45, 0.7];
  paint(canvas, height, width, (pixel) => {
    const change = [0, 1, 2].map((c) => {
      const at = pixel * channels + (channels === 1 ? 0 : c);
      return factor * (attacked[at] - image[at]);
    });
    if (channels === 3) return change.map((value) => 0.5 + value);
    const end = change[0] > 0 ? up : down;
    const share = Math.min(1, 2 * Math.abs(change[0]));
    return rest.map((value, c) => value + share * (end[c] - value));
  });
}

function paint(canvas, height, width, colour) {
  canvas.height = height;
  canvas.width = width;
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  for (let pixel = 0; pixel < height * width; pixel++) {
    colour(pixel).forEach((value, c) => (data.data[4 * pixel + c] = Math.round(255 * value)));
    data.data[4 * pixel + 3] = 255;
  }
  context.putImageData(data, 0, 0);
}

/** The image, large, with the mask over it: the background striped in blue, an edge around the foreground. */
function paintEditor(canvas, image, shape, mask, { showMask, cursor }) {
  const [height, width] = shape;
  const cell = Math.floor(canvas.width / Math.max(height, width));
  const context = canvas.getContext("2d");
  const small = canvas.ownerDocument.createElement("canvas");
  paintImage(small, image, shape);
  context.imageSmoothingEnabled = false;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(small, 0, 0, width * cell, height * cell);
  if (showMask) {
    const background = new Path2D();
    mask.forEach((value, pixel) => {
      if (value === 1) background.rect((pixel % width) * cell, Math.floor(pixel / width) * cell, cell, cell);
    });
    context.save();
    context.clip(background);
    context.fillStyle = "rgba(0, 114, 178, 0.42)";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = "rgba(255, 255, 255, 0.5)";
    context.lineWidth = 3;
    context.beginPath();
    for (let x = -canvas.height; x < canvas.width; x += 26) {
      context.moveTo(x, canvas.height);
      context.lineTo(x + canvas.height, 0);
    }
    context.stroke();
    context.restore();
    const edge = new Path2D();
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const here = mask[row * width + column], x = column * cell, y = row * cell;
        if (column + 1 < width && mask[row * width + column + 1] !== here) {
          edge.moveTo(x + cell, y);
          edge.lineTo(x + cell, y + cell);
        }
        if (row + 1 < height && mask[(row + 1) * width + column] !== here) {
          edge.moveTo(x, y + cell);
          edge.lineTo(x + cell, y + cell);
        }
      }
    }
    outline(context, edge);
  }
  if (cursor !== null) {
    const box = new Path2D();
    box.rect(cursor.column * cell - 1, cursor.row * cell - 1, cell + 2, cell + 2);
    outline(context, box, "#fff", 3);
  }
}

/** A line that is seen on light and on dark. */
function outline(context, path, colour = "#ffe14d", width = 2.5) {
  context.lineCap = "square";
  context.strokeStyle = "#000";
  context.lineWidth = width + 2.5;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

const CHART = { width: 260, height: 96, left: 30, right: 8, top: 8, bottom: 18 };

/** The loss over the steps as SVG elements: a line, a dot at the step that is shown, a ring at the best one. */
function paintLoss(svg, losses, shown, best, top) {
  const { width, height, left, right } = CHART;
  const x = (k) => left + ((width - left - right) * k) / Math.max(1, losses.length - 1);
  const y = (loss) => {
    const share = Math.min(1, Math.max(0, Number.isFinite(loss) ? loss / top : 1));
    return height - CHART.bottom - (height - CHART.top - CHART.bottom) * share;
  };
  const make = (name, attributes, text) => {
    const element = svg.ownerDocument.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const line = (points) => points.map(([k, loss]) => `${x(k).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const points = [...losses.entries()];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    make("line", { x1: left, x2: width - right, y1: y(0), y2: y(0), class: "axis" }),
    make("line", { x1: left, x2: left, y1: y(0), y2: y(top), class: "axis" }),
    make("text", { x: left - 4, y: y(top) + 8, class: "tick end" }, String(top)),
    make("text", { x: left - 4, y: y(0), class: "tick end" }, "0"),
    make("text", { x: left, y: height - 4, class: "tick" }, "step 0"),
    make("text", { x: width - right, y: height - 4, class: "tick end" }, String(losses.length - 1)),
    make("polyline", { points: line(points), class: "later" }),
    make("polyline", { points: line(points.slice(0, shown + 1)), class: "loss" }),
    make("circle", { cx: x(best), cy: y(losses[best]), r: 6, class: "best" }),
    make("circle", { cx: x(shown), cy: y(losses[shown]), r: 3.5, class: "now" }),
  );
}

/** A round number at or above the largest loss, for the end of the scale. */
function roundUp(loss) {
  const steps = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000];
  return steps.find((step) => loss <= step) ?? Math.ceil(loss);
}
