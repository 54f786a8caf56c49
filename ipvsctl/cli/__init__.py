"""The commands: the only place that prints or sets an exit status."""


def main() -> None:
    """Run the command named on the command line; does not return."""
    # Who imports a part of this package does not want the command line.
    from ipvsctl.cli.app import app  # noqa: PLC0415  # see above

    app(prog_name="ipvsctl")
