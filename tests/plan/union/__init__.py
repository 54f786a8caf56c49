"""Tests of what the node should hold."""
