"""Benchmarks: times of large clusters, as ratios to the kernel's own."""
