"""The second form of the compiler: what is computed when, in groups that become kernels."""
