"""Pictures of the docs, made from the code: `python -m tests.pictures` writes them."""
