"""Tests of what must change, and in which order."""
