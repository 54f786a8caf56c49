"""Owns the tasks: watch, pace, sync, audit. Decides nothing about packets."""
