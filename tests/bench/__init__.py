"""Benchmarks: how long large clusters take, as ratios to what the kernel itself takes."""
