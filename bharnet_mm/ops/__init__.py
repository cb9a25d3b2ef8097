"""Operators that cost time: one definition each, with kernels for the devices."""
