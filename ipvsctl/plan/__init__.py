"""What the kernel should hold, and what must change: pure functions of values.

Nothing here awaits, opens, logs or reads a clock.
"""
