"""Files' bytes to plain values: encodings, documents, YAML and its scalars."""
