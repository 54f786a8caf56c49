"""Tests of `cluster.manifests`."""
