"""Large clusters on paper: bytes, requests and memory, for `docs/scale.md`."""
