// Forward and backward passes of small Keras networks, for one image at a time.
//
// An image or a layer's output is a Float32Array in Keras's order: row, column, channel. A network is a list of layers
// that locadv_tf/playground/network.py writes:
//   {kind: "affine", scale, offset}                 per channel: Rescaling, Normalization, BatchNormalization
//   {kind: "conv", kernel, bias, size, strides, padding}   kernel in Keras's order: row, column, channel in, channel out
//   {kind: "pool", size, strides, padding}          the largest value of each window
//   {kind: "mean"}                                  the mean of each channel
//   {kind: "dense", kernel, bias}                   kernel: value in, value out
//   {kind: "relu"}
// Each makes an object with `forward(x)` and `backward(g)`: from the gradient in its output to that in its input.

"use strict";

/** A network from its layers and the shape [height, width, channels] of an image. */
function makeNetwork(layers, shape) {
  const made = [];
  for (const layer of layers) {
    const next = MAKERS[layer.kind](layer, shape);
    made.push(next);
    shape = next.shape;
  }
  const classes = shape[0] * shape[1] * shape[2];
  const gradient = new Float32Array(classes);
  const forward = (x) => made.reduce((value, layer) => layer.forward(value), x);
  const backward = (g) => made.reduceRight((value, layer) => layer.backward(value), g);

  /** What the network says to an image: logits, probabilities, the answer, and the cross-entropy of the label. */
  function respond(x, label) {
    const logits = Float32Array.from(forward(x));
    const { probabilities, logSum } = softmax(logits);
    const loss = logSum - logits[label];
    const answer = largest(logits);
    // An answer of NaN is no right answer.
    return { logits, probabilities, loss, answer, fooled: answer !== label || !Number.isFinite(loss) };
  }

  /** The same, with the loss's gradient in the image, times `SCALE`. It is valid until the next call. */
  function respondWithGradient(x, label) {
    const seen = respond(x, label);
    for (let i = 0; i < classes; i++) gradient[i] = SCALE * (seen.probabilities[i] - (i === label ? 1 : 0));
    return { ...seen, gradient: backward(gradient) };
  }

  return { classes, respond, respondWithGradient };
}

// The gradient of a confident network underflows to zero in float32, too, and sign(0) = 0 stops the attack. As in
// locadv_tf/attacks/losses.py.
const SCALE = 4096;

/** Probabilities (float64) and the logarithm of the sum of exponentials. */
function softmax(logits) {
  let high = -Infinity;
  for (const value of logits) high = Math.max(high, value);
  let sum = 0;
  const probabilities = Float64Array.from(logits, (value) => Math.exp(value - high));
  for (const value of probabilities) sum += value;
  return { probabilities: probabilities.map((value) => value / sum), logSum: high + Math.log(sum) };
}

/** The place of the largest value, the first of several. */
function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Where windows start and how many there are along one side, as TensorFlow pads: `[padding before, windows]`. */
function windows(side, size, stride, padding) {
  if (padding === "valid") return [0, Math.floor((side - size) / stride) + 1];
  const count = Math.ceil(side / stride);
  return [Math.floor(Math.max((count - 1) * stride + size - side, 0) / 2), count];
}

function affine({ scale, offset }, shape) {
  const channels = scale.length; // 1, the same for all; or those of the layer
  const y = new Float32Array(shape[0] * shape[1] * shape[2]);
  const dx = new Float32Array(y.length);
  return {
    shape,
    forward(x) {
      for (let i = 0, c = 0; i < y.length; i++, c = c + 1 === channels ? 0 : c + 1) y[i] = x[i] * scale[c] + offset[c];
      return y;
    },
    backward(g) {
      for (let i = 0, c = 0; i < dx.length; i++, c = c + 1 === channels ? 0 : c + 1) dx[i] = g[i] * scale[c];
      return dx;
    },
  };
}

function relu(_, shape) {
  const y = new Float32Array(shape[0] * shape[1] * shape[2]);
  const dx = new Float32Array(y.length);
  return {
    shape,
    forward(x) {
      for (let i = 0; i < y.length; i++) y[i] = x[i] < 0 ? 0 : x[i]; // so written that NaN stays NaN
      return y;
    },
    backward(g) {
      for (let i = 0; i < dx.length; i++) dx[i] = y[i] > 0 ? g[i] : 0;
      return dx;
    },
  };
}

function conv({ kernel, bias, size, strides, padding }, [height, width, inputs]) {
  const outputs = bias.length;
  const [top, rows] = windows(height, size[0], strides[0], padding);
  const [left, columns] = windows(width, size[1], strides[1], padding);
  const y = new Float32Array(rows * columns * outputs);
  const dx = new Float32Array(height * width * inputs);
  const sum = new Float64Array(outputs);
  const stripe = inputs * outputs; // numbers of the kernel per pixel

  // The two passes repeat their loops over windows and pixels: a shared loop that calls a function is slower.
  return {
    shape: [rows, columns, outputs],
    forward(x) {
      for (let row = 0, at = 0; row < rows; row++) {
        const first = row * strides[0] - top; // row of the image under the kernel's first one
        for (let column = 0; column < columns; column++, at += outputs) {
          const start = column * strides[1] - left;
          sum.set(bias);
          for (let i = Math.max(0, -first); i < size[0] && first + i < height; i++) {
            for (let j = Math.max(0, -start); j < size[1] && start + j < width; j++) {
              let tap = (i * size[1] + j) * stripe;
              const from = ((first + i) * width + start + j) * inputs;
              for (let k = from; k < from + inputs; k++, tap += outputs) {
                const value = x[k];
                if (value === 0) continue; // half of the values, after a ReLU
                for (let o = 0; o < outputs; o++) sum[o] += value * kernel[tap + o];
              }
            }
          }
          y.set(sum, at);
        }
      }
      return y;
    },
    backward(g) {
      dx.fill(0);
      for (let row = 0, at = 0; row < rows; row++) {
        const first = row * strides[0] - top;
        for (let column = 0; column < columns; column++, at += outputs) {
          const start = column * strides[1] - left;
          for (let i = Math.max(0, -first); i < size[0] && first + i < height; i++) {
            for (let j = Math.max(0, -start); j < size[1] && start + j < width; j++) {
              let tap = (i * size[1] + j) * stripe;
              const to = ((first + i) * width + start + j) * inputs;
              for (let k = to; k < to + inputs; k++, tap += outputs) {
                let total = 0;
                for (let o = 0; o < outputs; o++) total += g[at + o] * kernel[tap + o];
                dx[k] += total;
              }
            }
          }
        }
      }
      return dx;
    },
  };
}

function pool({ size, strides, padding }, [height, width, channels]) {
  const [top, rows] = windows(height, size[0], strides[0], padding);
  const [left, columns] = windows(width, size[1], strides[1], padding);
  const y = new Float32Array(rows * columns * channels);
  const from = new Int32Array(y.length);
  const dx = new Float32Array(height * width * channels);
  return {
    shape: [rows, columns, channels],
    forward(x) {
      let at = 0;
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          for (let k = 0; k < channels; k++, at++) {
            let best = -1;
            for (let i = 0; i < size[0]; i++) {
              const r = row * strides[0] + i - top;
              if (r < 0 || r >= height) continue;
              for (let j = 0; j < size[1]; j++) {
                const c = column * strides[1] + j - left;
                if (c < 0 || c >= width) continue;
                const place = (r * width + c) * channels + k;
                if (best < 0 || x[place] > x[best]) best = place; // the first of several
              }
            }
            y[at] = x[best];
            from[at] = best;
          }
        }
      }
      return y;
    },
    backward(g) {
      dx.fill(0);
      for (let i = 0; i < from.length; i++) dx[from[i]] += g[i];
      return dx;
    },
  };
}

function mean(_, [height, width, channels]) {
  const y = new Float32Array(channels);
  const dx = new Float32Array(height * width * channels);
  const pixels = height * width;
  return {
    shape: [1, 1, channels],
    forward(x) {
      for (let k = 0; k < channels; k++) {
        let total = 0;
        for (let i = k; i < dx.length; i += channels) total += x[i];
        y[k] = total / pixels;
      }
      return y;
    },
    backward(g) {
      for (let i = 0; i < dx.length; i++) dx[i] = g[i % channels] / pixels;
      return dx;
    },
  };
}

function dense({ kernel, bias }, shape) {
  const inputs = shape[0] * shape[1] * shape[2];
  const outputs = bias.length;
  const sum = new Float64Array(outputs);
  const y = new Float32Array(outputs);
  const dx = new Float32Array(inputs);
  return {
    shape: [1, 1, outputs],
    forward(x) {
      sum.set(bias);
      for (let i = 0, at = 0; i < inputs; i++, at += outputs) {
        const value = x[i];
        if (value === 0) continue;
        for (let o = 0; o < outputs; o++) sum[o] += value * kernel[at + o];
      }
      y.set(sum);
      return y;
    },
    backward(g) {
      for (let i = 0, at = 0; i < inputs; i++, at += outputs) {
        let total = 0;
        for (let o = 0; o < outputs; o++) total += g[o] * kernel[at + o];
        dx[i] = total;
      }
      return dx;
    },
  };
}

const MAKERS = { affine, conv, pool, mean, dense, relu };

// What a page carries: numbers as base64 text.

/** The bytes of a base64 text. */
function fromBase64(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
}

/** A Float32Array from base64 of little-endian "float32" or "float16" numbers. */
function floats(text, type) {
  const bytes = fromBase64(text);
  const view = new DataView(bytes.buffer);
  if (type === "float32") return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
}

/** The number that 16 bits stand for (IEEE 754). */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A network from what the page carries: its layers, with `kernel` and `bias` as base64 text. */
function unpackNetwork({ layers, type }, shape) {
  const unpacked = layers.map((layer) =>
    "kernel" in layer ? { ...layer, kernel: floats(layer.kernel, type), bias: floats(layer.bias, type) } : layer,
  );
  return makeNetwork(unpacked, shape);
}

if (typeof module !== "undefined") {
  module.exports = { makeNetwork, unpackNetwork, softmax, largest, windows, fromBase64, floats, half };
}
