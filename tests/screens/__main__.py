"""`python -m tests.screens` writes the texts that screens are compared with."""

from tests.screens.scene import SCREENS
from tests.screens.terminal import plain, screen
from tests.screens.test_screens import COLUMNS, golden


def main() -> None:
    """Write all of them."""
    for name in SCREENS:
        for columns in COLUMNS:
            golden(name, columns).write_text(plain(screen(name, columns)), "utf-8")


if __name__ == "__main__":
    main()
