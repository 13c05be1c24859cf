"""The reference target: every plan runs on NumPy alone, with ``out=`` kernels where speed matters."""
