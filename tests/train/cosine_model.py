"""A toy model in closed form: each output is a product of cosines over the weights of its cone."""

import numpy as np

from tn_qnn.train.protocol import LocalOutputs


class CosineModel:
    """f_k(w, x) = product over i in cone k of cos(w_i + x . phases[:, i])."""

    num_features = 2

    def __init__(self, cones, seed=0, dtype=np.float64):
        self.credit = np.array(cones, dtype=bool)
        self.num_outputs, self.num_weights = self.credit.shape
        self.weight_names = tuple(f"w{i}" for i in range(self.num_weights))
        self.signature = f"cosine {self.credit.astype(int).tolist()} {seed}"
        self.phases = np.random.default_rng(seed).normal(size=(2, self.num_weights))
        self.frequencies = tuple((1.0,) if any(cone) else () for cone in self.credit.T)
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

    def pull_back(self, weights, X, slopes):
        """Outputs, and sum over samples and outputs of slope times derivative."""
        outputs = self(weights, X)
        back = slopes(outputs, slice(0, len(X)))
        return outputs, np.einsum("sk,skw->w", back, self.gradient(weights, X))

    def local_outputs(self, weights, X, sets):
        """Outputs where one cosine of one output has another weight; each output is a part."""
        outputs = self(weights, X)

        def turned():
            for k, cone in enumerate(self.credit):
                own = np.flatnonzero(cone)
                angles = np.tile(weights[own], (len(own), len(sets), 1))
                angles[np.arange(len(own)), :, np.arange(len(own))] = sets[:, own].T
                cosines = np.cos(angles[:, :, None] + X @ self.phases[:, own])
                moved = np.tile(outputs, (len(own), len(sets), 1, 1))
                moved[..., k] = cosines.prod(axis=-1)
                yield LocalOutputs(slice(0, len(X)), moved, np.arange(len(own)), own)

        return outputs, turned()


CHAIN = [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]  # overlapping cones
BLOCKS = np.kron(np.eye(4, dtype=int), np.ones((1, 3), dtype=int))  # cones apart


def samples(number, classes=3, seed=3):
    """Return features (S, 2) and class indices (S,) that a model can learn from them."""
    random = np.random.default_rng(seed)
    y = np.arange(number) % classes
    angle = 2 * np.pi * y / classes
    X = 0.8 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return X + 0.1 * random.normal(size=X.shape), y
