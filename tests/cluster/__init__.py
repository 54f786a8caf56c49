"""Objects of the API to values, manifests, configuration, and the store."""
