"""Tests of the fixed rules."""
