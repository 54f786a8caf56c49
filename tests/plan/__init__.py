"""Tests of the pure planning layer, and what they trace packets with."""
