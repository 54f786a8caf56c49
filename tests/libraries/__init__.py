"""Tests of `libraries`."""
