"""graphnn beside its peers on an NVIDIA GPU: ``python -m benchmarks.gpu``."""
