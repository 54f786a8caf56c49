"""The Kubernetes API: connecting, listing and watching, telling Events."""
