"""The uid of one object, which others are told of or owned by.

It is asked for by a list, because that is what a proxy may do.
"""

import msgspec

from ipvsctl.kube.api_messages import meta_of, page_of
from ipvsctl.kube.transport import Api, Query
from ipvsctl.model.errors import ApiError


async def find_uid(api: Api, path: str, query: Query) -> str:
    """The uid of the first object of a list; "" if there is none.

    Args:
        api: is asked.
        path: where the objects are listed.
        query: chooses one of them.

    Raises:
        ApiError: it cannot be asked, or says something else.
        ConfigError: the credentials cannot be used.
    """
    async with api.request("GET", path, query) as answer:
        body = await answer.read()
    try:
        items = page_of(body).items or []
    except msgspec.DecodeError as error:
        raise ApiError(
            status=0, url=path, reason=f"not a list: {error}", word="garbage"
        ) from error
    return (meta_of(items[0]).uid or "") if items else ""
