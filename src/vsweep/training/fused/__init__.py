"""A whole training in one GPU kernel, for networks that fit into the memory of a thread block.

`kernel.cu` is the kernel, and says which part of `training/loop.py` each of its parts is. `kernel.py` tells
which trainings it takes and in which sizes it is compiled, and `arrays.py` converts a trial to its arguments
and back. `engine/kernel_launch.py` compiles it and calls it.
"""
