"""Where objects come from: manifests on disk."""
