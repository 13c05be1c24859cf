"""graphnn beside its peers and beside plain Python, measured in one run. Run each with ``python -m benchmarks.NAME``."""
