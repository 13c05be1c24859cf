"""The CUDA target: plans as CUDA kernels, on an NVIDIA GPU or on the emulator."""
