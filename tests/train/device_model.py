"""The toy model on a device: NumPy in, NumPy out; CuPy in, CuPy out, by what a graph can hold."""

import numpy as np
from cosine_model import CosineModel


class DeviceCosine(CosineModel):
    """A cosine model as :class:`CosineModel` that computes on a device."""

    capturable = True

    def __init__(self, cones, device, **settings):
        super().__init__(cones, **settings)
        self.device, self.ops = device, device.ops
        with device.use():
            self._credit = device.to_device(self.credit)
            self._phases = device.to_device(self.phases)

    def __call__(self, weights, X):
        device, cp = self.device, self.device.cp
        if isinstance(weights, np.ndarray):
            with device.use():
                return device.to_host(self(device.to_device(weights), device.to_device(X)))
        assert isinstance(X, cp.ndarray) and X.dtype == weights.dtype == np.float64
        self.calls.append(weights.shape)
        angles = weights if weights.ndim == 3 else weights[..., None, :]
        shifts = (X[:, :, None] * self._phases).sum(axis=1)  # a matrix product cannot be captured
        cosines = cp.cos(angles + shifts)[..., None, :]
        return cp.where(self._credit, cosines, 1.0).prod(axis=-1).astype(self.dtype)
