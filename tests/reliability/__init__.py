"""Faults under traffic: how long until all is served again, and what was lost."""
