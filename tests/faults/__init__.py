"""Faults that are planted in a real node, and which command names them."""
