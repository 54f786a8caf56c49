"""Tests of the sock_diag codec."""
