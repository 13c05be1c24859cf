"""Runs the very same CUDA text on the CPU, thread by thread."""
