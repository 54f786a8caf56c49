"""Tests of what the process exposes."""
