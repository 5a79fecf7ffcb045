"""The benchmark and the check on a GPU: ``python -m bench.gpu``, ``python -m bench.gpu.check``."""
