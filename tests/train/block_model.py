"""A dense model of tensor-valued blocks: slow, obvious, without networks."""

import numpy as np
from scipy.linalg import polar

from tn_qnn.circuit.block_groups import BlockGroup


class BlockModel:
    """Outputs <x| W^H O_k W |x> with W = U_n ... U_1 on two qubits, and an angle that does nothing.

    The blocks are the polar factors, by SciPy, of the weights' entries; the gradient is a
    difference quotient.
    """

    def __init__(self, blocks=2, outputs=3, real=True, seed=0):
        rng = np.random.default_rng(seed)
        self.real, self.count, self.size = real, blocks, 16 if real else 32
        names = [f"U{b}[{i}]" for b in range(blocks) for i in range(self.size)]
        self.weight_names = ("angle", *names)
        self.num_weights, self.num_outputs = len(self.weight_names), outputs
        self.credit = np.ones((outputs, self.num_weights), dtype=bool)
        self.signature = f"blocks {blocks} {outputs} {real} {seed}"
        noise = rng.normal(size=(outputs, 4, 4)) + 1j * rng.normal(size=(outputs, 4, 4))
        self.observables = noise + noise.conj().swapaxes(1, 2)
        self.output_bounds = np.linalg.norm(self.observables, 2, axis=(1, 2))
        columns = 1 + np.arange(blocks * self.size).reshape(blocks, self.size)
        names = tuple(f"U{b}" for b in range(blocks))
        self.blocks = (BlockGroup(names, columns, 2, real, "entries"),)
        self.calls = 0

    def matrices(self, weights):
        for entries in weights[1:].reshape(self.count, -1, 4, 4):
            yield polar(entries[0] if self.real else entries[0] + 1j * entries[1])[0]

    def one(self, weights, X):
        states = X / np.linalg.norm(X, axis=1, keepdims=True)
        for matrix in self.matrices(weights):
            states = states @ matrix.T
        return np.einsum("si,kij,sj->sk", states.conj(), self.observables, states).real

    def __call__(self, weights, X):
        self.calls += 1
        if weights.ndim == 1:
            return self.one(weights, X)
        return np.stack([self.one(w, X) for w in weights])

    def pull_back(self, weights, X, slopes):
        outputs = self.one(weights, X)
        slope = slopes(outputs, slice(0, len(X)))
        gradient = np.zeros(self.num_weights)
        for i in range(self.num_weights):
            step = np.zeros(self.num_weights)
            step[i] = 1e-5
            change = self.one(weights + step, X) - self.one(weights - step, X)
            gradient[i] = (slope * change).sum() / 2e-5
        return outputs, gradient


def samples(count, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)), rng.integers(0, classes, count)
