"""The compute kernels in C and their build."""
