"""Tests of `kube.connect`."""
