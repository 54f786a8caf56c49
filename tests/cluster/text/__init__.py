"""Tests of `cluster.text`."""
