"""Tests of the ipset codec."""
