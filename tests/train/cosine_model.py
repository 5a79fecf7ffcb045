"""A toy model in closed form: each output is a product of cosines over the weights of its cone."""

import numpy as np


class CosineModel:
    """f_k(w, x) = product over i in cone k of cos(w_i + x . phases[:, i])."""

    num_features = 2

    def __init__(self, cones, seed=0, dtype=np.float64):
        self.credit = np.array(cones, dtype=bool)
        self.num_outputs, self.num_weights = self.credit.shape
        self.weight_names = tuple(f"w{i}" for i in range(self.num_weights))
        self.signature = f"cosine {self.credit.astype(int).tolist()} {seed}"
        self.phases = np.random.default_rng(seed).normal(size=(2, self.num_weights))
        self.dtype = dtype
        self.calls = []

    def __call__(self, weights, X):
        self.calls.append(weights.shape)
        angles = weights if weights.ndim == 3 else weights[..., None, :]
        cosines = np.cos(angles + X @ self.phases)[..., None, :]
        return np.where(self.credit, cosines, 1.0).prod(axis=-1).astype(self.dtype)

    def gradient(self, weights, X):
        """Exact derivatives of the outputs, (S, K, W)."""
        angles = (weights + X @ self.phases)[:, None, :]
        rest = [
            np.where(self.credit & (np.arange(self.num_weights) != i), np.cos(angles), 1.0)
            for i in range(self.num_weights)
        ]
        products = np.stack([r.prod(axis=-1) for r in rest], axis=-1)
        return -np.sin(angles) * products * self.credit


CHAIN = [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]  # overlapping cones
BLOCKS = np.kron(np.eye(4, dtype=int), np.ones((1, 3), dtype=int))  # cones apart


def samples(number, classes=3, seed=3):
    """Return features (S, 2) and class indices (S,) that a model can learn from them."""
    random = np.random.default_rng(seed)
    y = np.arange(number) % classes
    angle = 2 * np.pi * y / classes
    X = 0.8 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return X + 0.1 * random.normal(size=X.shape), y
