"""graphnn beside its peers and beside plain Python, measured in one run: ``python -m benchmarks.NAME``."""
