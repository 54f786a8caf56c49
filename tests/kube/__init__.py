"""Tests of `ipvsctl.kube`, against an API server in this process, over HTTPS."""
