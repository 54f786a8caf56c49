"""Tests of the rtnetlink codecs."""
