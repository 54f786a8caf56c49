"""Words of others, made fit to be shown."""


def one_line(text: str) -> str:
    """The text without line breaks and terminal control, which objects may hold."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
