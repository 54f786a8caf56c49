"""Tests of what all netlink protocols share."""
