"""The tests, in the package's own shape; see CONTRIBUTING.md for their levels."""
