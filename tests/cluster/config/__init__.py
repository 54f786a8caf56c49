"""Tests of `cluster.config`."""
