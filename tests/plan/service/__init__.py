"""Tests of what a Service means."""
