"""Tests of the messages about UDP ports that unpack packets."""
