"""The GPU: CuPy for arrays and streams, the sources in ``kernels/`` for the work."""
