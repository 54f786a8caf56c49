"""The commands: the only place that prints or sets an exit status.

app                   every command with its options and help
node_command          what the commands about a node share
options               options that commands share
plain_values          what becomes of the values of options
setting_options       settings as options
inputs, objects       from options to settings, name, and objects
environment           where the kernel is from
errors, output, logs  to stderr, to stdout, and to the log
run                   the daemon
interpreter           when the daemon collects garbage, and threads take turns
allocator             how the daemon's C library keeps memory
daemon                asking a daemon that runs
sync                  apply, diff, cleanup
plan_view, show_plan  a plan as data, and as lines
status, show_status   status as data, and as lines
check, render         the commands of these names
plain, layout         data without types, and columns of text
"""

import sys

from ipvsctl import __version__


def main() -> None:
    """Run the command named on the command line."""
    if sys.argv[1:] in (["version"], ["--version"]) and _print_version():
        return
    # Who imports a part of this package does not want the command line.
    from ipvsctl.cli.app import app  # noqa: PLC0415  # see above

    app(prog_name="ipvsctl")


def _print_version() -> bool:
    """Answer without the command line, whose import is nine tenths of the time.

    Returns:
        Whether it could be printed; if not, the command says so as any other does.
    """
    try:
        sys.stdout.write(f"ipvsctl {__version__}\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True
