"""Kubernetes objects to values, and the store that says what became dirty."""
