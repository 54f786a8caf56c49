"""Tests of the controller: calls, loop and time, without a kernel."""
