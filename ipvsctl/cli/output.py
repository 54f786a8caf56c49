"""Where and how commands print."""

import sys
from collections.abc import Iterable, Sequence

import msgspec

from ipvsctl.cli.layout import Line
from ipvsctl.cli.options import PlanFormat, StateFormat
from ipvsctl.cli.plain import plain


def print_data(value: object, form: StateFormat | PlanFormat) -> None:
    """Print a value as JSON, or as YAML."""
    data = plain(value)
    if form in {"yaml", "yml"}:
        import yaml  # noqa: PLC0415  # only here

        yaml.safe_dump(data, sys.stdout, sort_keys=False, allow_unicode=True)
        return
    text = msgspec.json.format(msgspec.json.encode(data), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def terminal_width() -> int | None:
    """Columns of the terminal that is printed to; None if it is none."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415  # pipes need none

    return Console().width


def print_styled(lines: Sequence[Line]) -> None:
    """Print for a person, in colours if it is a terminal that has them."""
    if sys.stdout.isatty():
        sys.stdout.write(styled_text(lines))
    else:
        print_lines("".join(span.text for span in line) for line in lines)


def styled_text(lines: Sequence[Line]) -> str:
    """The lines in the colours that the terminal has."""
    from rich.console import Console  # noqa: PLC0415  # pipes need none
    from rich.segment import Segment, Segments  # noqa: PLC0415  # likewise

    console = Console()
    styles = {
        style: console.get_style(style) if style else None
        for style in {span.style for line in lines for span in line}
    }
    segments = [
        segment
        for line in lines
        for segment in (
            *(Segment(span.text, styles[span.style]) for span in line),
            Segment.line(),
        )
    ]
    with console.capture() as captured:
        # Lines that are too long are the terminal's to wrap.
        console.print(Segments(segments), end="", crop=False, soft_wrap=True)
    return captured.get()
