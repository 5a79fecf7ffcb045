"""CUDA sources (``.cu``, ``.cuh``) of the GPU backend, installed as ``tn_qnn.kernels``.

No Python lives here: the sources are read as package data (``importlib.resources.files``) and
compiled for the device at hand when a GPU program is first run.
"""
