"""From a head's raw outputs to scores, in float64 and without overflow."""

import numpy as np

from service.core.messages import Array


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis, float64, of the same shape."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """One probability per element, float64, of the same shape."""
    values = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def top_indices(scores: Array, top_k: int) -> Array:
    """Positions of the largest values of a vector, best first, at most ``top_k``."""
    best = np.argsort(-scores, kind="stable") if top_k >= len(scores) else None
    if best is not None:
        return best
    part = np.sort(np.argpartition(-scores, top_k)[:top_k])
    return part[np.argsort(-scores[part], kind="stable")]


def unit_length(vectors: Array) -> Array:
    """Vectors of the last axis scaled to length 1; those below 1e-12 are divided by that."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.asarray(1e-12, dtype=vectors.dtype)))
