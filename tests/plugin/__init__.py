"""Tests of the kubectl plugin."""
