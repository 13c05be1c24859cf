"""CUDA sources, specialised by macros (see device.h for what they may use)."""
