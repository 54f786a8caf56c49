"""`python -m ipvsctl` is the `ipvsctl` command."""

from ipvsctl.cli import main

if __name__ == "__main__":
    main()
