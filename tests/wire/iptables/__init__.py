"""Tests of rules as text."""
