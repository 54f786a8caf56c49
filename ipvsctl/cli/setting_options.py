"""Settings on the command line and in the environment: one option for each."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated, Any, Final

import typer

from ipvsctl.cluster.flags import FLAGS, Flag

Given = tuple[tuple[Flag, str, str], ...]
"""Settings that were given: which, the name of the flag or variable, and the text."""

NOTHING_GIVEN: Final[Given] = ()


_CONTEXT: Final = inspect.Parameter(
    "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)


def takes_settings(
    *paths: str,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting, instead of its parameter `given`.

    Args:
        paths: only these settings; none is all of them.
    """
    flags = [flag for flag in FLAGS if flag.path in paths or not paths]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        kept = [
            p
            for p in signature.parameters.values()
            if p.name not in {"context", "given"}
        ]
        needs_context = "context" in signature.parameters

        @wraps(command)
        def run(context: typer.Context, **values: Any) -> None:  # noqa: ANN401  # whatever its options are
            texts = [(flag, values.pop(_parameter(flag))) for flag in flags]
            given = _given(context, texts)
            if needs_context:
                values["context"] = context
            command(given=given, **values)

        parameters = [_CONTEXT, *kept, *map(_option, flags)]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer asks inspect, which looks there
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _option(flag: Flag) -> inspect.Parameter:
    option = typer.Option(
        flag.name,
        metavar=flag.metavar,
        envvar=flag.variable,
        help=flag.help,
        autocompletion=(lambda: list(flag.words)) if flag.words else None,
        show_default=False,
    )
    return inspect.Parameter(
        _parameter(flag),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def _parameter(flag: Flag) -> str:
    return flag.variable.lower()


def _given(context: typer.Context, texts: Iterable[tuple[Flag, str | None]]) -> Given:
    return tuple(
        (flag, _source(context, flag), text) for flag, text in texts if text is not None
    )


def _source(context: typer.Context, flag: Flag) -> str:
    source = context.get_parameter_source(_parameter(flag))
    is_variable = source is not None and source.name == "ENVIRONMENT"
    return flag.variable if is_variable else flag.name
