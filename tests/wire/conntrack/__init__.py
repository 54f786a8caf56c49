"""Tests of the conntrack codec."""
