"""Tests of the codecs: kernels' own bytes and text, both ways."""
