"""`python -m tests.bench.scale`: print the tables of `docs/scale.md`.

`nox -s docs` writes them into the page.
"""

from tests.bench.scale.page import BLOCKS


def main() -> None:
    """Print every table."""
    for name, make in BLOCKS.items():
        print(f"{name}:\n\n{make()}")


if __name__ == "__main__":
    main()
