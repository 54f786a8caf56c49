"""Kubernetes objects to values, and the store that says which Services became dirty."""
