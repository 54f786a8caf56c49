"""Tests that follow packets through a planned node."""
