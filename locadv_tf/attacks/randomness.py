"""Random numbers as a hash of (seed, image, restart, pixel).

An image's numbers depend on nothing else: not on the batch that it happens to be in, nor on the device. TensorFlow's
stateless generators take one seed per call; one call per image takes two to three times as long.
"""

import tensorflow as tf


def fold_in(key, number):
    """A new key, uint32, from a key and a number (scalars or tensors that broadcast); as in JAX's `random.fold_in`."""
    return _hash(tf.cast(key, tf.uint32) ^ _hash(tf.cast(number, tf.uint32) + tf.constant(0x9E3779B9, tf.uint32)))


def uniform(shape, key):
    """Uniform float32 numbers in [0, 1): `shape` (N, H, W, C), one key per image, uint32 `(N,)`."""
    pixels = tf.cast(tf.range(shape[1] * shape[2] * shape[3]), tf.uint32)
    bits = fold_in(key[:, None], pixels[None])
    bits = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32)  # 24 bits: exact in float32
    return tf.reshape(bits * 2.0**-24, shape)


def _hash(bits):
    """A bijective mix of 32 bits ("lowbias32", Wellons 2018: the low-bias variant of MurmurHash3's finalizer)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
        bits ^= tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))
        bits = bits if factor is None else bits * tf.constant(factor, tf.uint32)
    return bits
