"""One request to one answer: who asks, for what, and what goes wrong."""

import enum
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from tests.fakes.apiserver import writes
from tests.fakes.apiserver.access import Access
from tests.fakes.apiserver.discovery import discovered
from tests.fakes.apiserver.entries import Entry
from tests.fakes.apiserver.execution import Execute, Executed, execute
from tests.fakes.apiserver.faults import (
    Alter,
    Expire,
    Fault,
    Garble,
    Hang,
    Refuse,
    Script,
)
from tests.fakes.apiserver.formats import check_accept, check_body
from tests.fakes.apiserver.kinds import Target, parse_path
from tests.fakes.apiserver.lists import Shown, expire_token, list_body
from tests.fakes.apiserver.options import ListOptions, check_options, parse_options
from tests.fakes.apiserver.outlet import Outlet, Sleep, silence
from tests.fakes.apiserver.recorded import Recorded
from tests.fakes.apiserver.replies import Reply, common_headers, failed, refused, spell
from tests.fakes.apiserver.status import (
    Refusal,
    bad_request,
    expired_list,
    expired_watch,
    no_such_path,
)
from tests.fakes.apiserver.store import Store
from tests.fakes.apiserver.streams import send_line, send_watch
from tests.fakes.apiserver.watches import Watch, error_line

_VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_HEALTH = {"/healthz", "/livez", "/readyz"}


class Streaming(enum.Enum):
    """What the server thinks of streaming lists."""

    ON = "on"
    OFF = "off"  # 422: the feature gate is off
    UNKNOWN = "unknown"  # the parameter is ignored, as before Kubernetes 1.27


class Answers:
    """The state of a server and how it answers.

    Attributes:
        store: the objects.
        access: who may what.
        script: the faults to come.
        streaming: what becomes of `sendInitialEvents`.
        requests: every one so far.
        watches: those that are open.
        execute: runs commands in pods.
    """

    def __init__(
        self, store: Store, access: Access, clock: Callable[[], float], sleep: Sleep
    ) -> None:
        self.store = store
        self.access = access
        self.script = Script()
        self.streaming = Streaming.ON
        self.requests: list[Recorded] = []
        self.watches: set[Watch] = set()
        self.execute: Execute = lambda _asked: Executed(status=126)
        self._clock = clock
        self._sleep = sleep

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        target = parse_path(request.path)
        verb = _verb(request.method, request.query, target)
        plural = target.resource.plural if target else ""
        faults = self.script.next(verb, plural)
        recorded = Recorded(
            at_s=self._clock(),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            verb=verb,
            resource=plural,
        )
        place = len(self.requests)
        self.requests.append(recorded)
        if any(isinstance(f, Hang) and not f.after_bytes for f in faults):
            await silence()
        for fault in faults:
            if isinstance(fault, Refuse):
                return await self._send(request, failed(fault), ())
        user = ""
        try:
            user = self.access.user(request.headers, _certificate(request))
            self.requests[place] = msgspec.structs.replace(recorded, user=user)
            if target is None:
                reply = _about_itself(request)
            else:
                check_accept(request.headers.get("Accept", ""))
                self.access.check(user, verb, target)
                if target.subresource == "exec":
                    name = writes.find(self.store, target).name
                    return await execute(
                        request, target.namespace or "", name, self.execute
                    )
                if verb == "watch":
                    return await self._watch(request, target, faults)
                reply = await self._reply(request, verb, target, faults)
        except Refusal as refusal:
            reply = refused(refusal)
        return await self._send(request, reply, faults, is_known=bool(user))

    async def _reply(
        self,
        request: web.BaseRequest,
        verb: str,
        target: Target,
        faults: tuple[Fault, ...],
    ) -> Reply:
        for fault in faults:
            if isinstance(fault, Garble):
                return Reply(body=fault.text, content_type="text/plain")
        if verb == "list":
            options = self._options(request)
            if any(isinstance(fault, Expire) for fault in faults):
                token = options.continue_token
                raise expire_token(token) if token else expired_list()
            body = list_body(self.store, target, options, _shown(faults))
            return Reply(body=body)
        body = await request.read()
        if verb in {"create", "update"}:
            check_body(request.headers.get("Content-Type", ""))
        entry = self._object(request, verb, target, body)
        code = 201 if verb == "create" else 200
        if verb == "delete":
            return Reply(body=_deleted(entry))
        return Reply(code=code, body=entry.object())

    def _object(
        self, request: web.BaseRequest, verb: str, target: Target, body: bytes
    ) -> Entry:
        match verb:
            case "get":
                return writes.find(self.store, target)
            case "create":
                return writes.create(self.store, target, body)
            case "update":
                return writes.replace(self.store, target, body)
            case "patch":
                kind = request.content_type
                return writes.patch(self.store, target, body, kind)
            case "delete" if target.name:
                return writes.delete(self.store, target)
        raise bad_request(f"{verb} is not served")

    def _options(self, request: web.BaseRequest) -> ListOptions:
        is_known = self.streaming is not Streaming.UNKNOWN
        options = parse_options(request.query, is_streaming_known=is_known)
        check_options(options, is_streaming_on=self.streaming is Streaming.ON)
        return options

    async def _send(
        self,
        request: web.BaseRequest,
        reply: Reply,
        faults: tuple[Fault, ...],
        *,
        is_known: bool = True,
    ) -> web.StreamResponse:
        spelled = spell(reply, request)
        headers = {
            **common_headers(is_known=is_known),
            **spelled.headers,
            "Content-Type": spelled.content_type,
        }
        response = web.StreamResponse(status=spelled.code, headers=headers)
        response.content_length = len(spelled.body)
        await response.prepare(request)
        await Outlet(request, response, faults, self._sleep).write(spelled.body)
        await response.write_eof()
        return response

    async def _watch(
        self, request: web.BaseRequest, target: Target, faults: tuple[Fault, ...]
    ) -> web.StreamResponse:
        options = self._options(request)
        try:
            if any(isinstance(fault, Expire) for fault in faults):
                raise expired_watch(options.since(), self.store.revision)
            watch = Watch(self.store, target, options, _shown(faults))
        except Refusal as refusal:
            if refusal.code != 410:
                raise
            return await send_line(request, error_line(refusal), faults, self._sleep)
        self.watches.add(watch)
        try:
            return await send_watch(
                request, watch, faults, self._sleep, options.timeout_s
            )
        finally:
            self.watches.discard(watch)
            watch.close()


def _verb(method: str, query: Mapping[str, str], target: Target | None) -> str:
    if method != "GET":
        return _VERBS.get(method, method.lower())
    if query.get("watch", "false") in {"true", "1", ""}:
        return "watch"
    return "list" if target is not None and target.name is None else "get"


def _about_itself(request: web.BaseRequest) -> Reply:
    """Whether it is well, which version it is, and which resources it has.

    Raises:
        Refusal: 404, 406.
    """
    if request.path in _HEALTH:
        return Reply(body=b"ok", content_type="text/plain; charset=utf-8")
    found = discovered(request.path)
    if found is None:
        raise no_such_path()
    check_accept(request.headers.get("Accept", ""))
    return Reply(body=msgspec.json.encode(found))


def _certificate(request: web.BaseRequest) -> Mapping[str, object]:
    transport = request.transport
    found = transport.get_extra_info("peercert") if transport is not None else None
    return found or {}


def _shown(faults: tuple[Fault, ...]) -> Shown:
    """How objects are shown: as they are, or altered."""
    alters = {fault.name: fault.patch for fault in faults if isinstance(fault, Alter)}
    if not alters:
        return Entry.item

    def shown(entry: Entry) -> bytes:
        if entry.name not in alters:
            return entry.item()
        item = msgspec.json.decode(entry.item())
        return msgspec.json.encode(writes.merge(item, alters[entry.name]))

    return shown


def _deleted(entry: Entry) -> bytes:
    details = {
        "name": entry.name,
        **({"group": entry.resource.group} if entry.resource.group else {}),
        "kind": entry.resource.plural,
        "uid": entry.decode()["metadata"]["uid"],
    }
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
    return msgspec.json.encode(status)
