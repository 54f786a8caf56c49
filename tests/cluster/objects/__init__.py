"""Tests of `cluster.objects`."""
