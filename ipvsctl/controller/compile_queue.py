"""What is to be compiled next: many small Services at once, large ones part by part.

A Service with thousands of virtual servers takes seconds to compile and to program.
Its turn is cut into parts, between which all others are served.
"""

from collections.abc import Callable, Collection, Generator, Iterable
from typing import Final

from ipvsctl.controller.compilation import Compilation
from ipvsctl.model.problem import ObjectRef

MOST_SMALL: Final = 100
"""Services that are compiled at once."""

_FEWEST_SMALL: Final = 12

MOST_PARTS: Final = 16
"""Parts of a large Service that are put into place at once."""

_SLOW_S: Final = 0.02
_FAST_S: Final = 0.01

Parts = Generator[None, None, None]

Choose = Callable[[Collection[ObjectRef]], ObjectRef]
"""One of these."""


class Turns:
    """Services that wait, each once; those of each namespace in the order they came.

    Namespaces take turns, so that whoever changes a thousand Services of one at once
    keeps those of another waiting for no more than one.

    Attributes:
        waiting: by namespace; not to be changed by anybody else.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, dict[ObjectRef, None]] = {}

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def __len__(self) -> int:
        return sum(map(len, self.waiting.values()))

    def __contains__(self, ref: ObjectRef) -> bool:
        return ref in self.waiting.get(ref.namespace, ())

    def add(self, refs: Iterable[ObjectRef]) -> None:
        """These wait, if they do not yet."""
        for ref in refs:
            self.waiting.setdefault(ref.namespace, {})[ref] = None

    def take(self, choose: Choose | None = None) -> ObjectRef:
        """The next one, which waits no more.

        Args:
            choose: which one of a namespace it is; None is the first that came.

        Raises:
            StopIteration: there is none.
        """
        namespace, refs = next(iter(self.waiting.items()))
        ref = next(iter(refs)) if choose is None else choose(refs)
        del refs[ref], self.waiting[namespace]
        if refs:
            self.waiting[namespace] = refs
        return ref


class CompileQueue:
    """Services that are to be compiled, each once.

    Large ones have their turn one at a time, those of one namespace after those of
    another.

    Attributes:
        small: those that are compiled many at once.
    """

    def __init__(self) -> None:
        self.small = Turns()
        self._large = Turns()
        self._current: ObjectRef | None = None
        self._compilation: Compilation | None = None
        self._parts: Parts | None = None

    @property
    def has_parts(self) -> bool:
        """Whether something can be done at once."""
        return self._parts is not None or self.small.waiting != {}

    @property
    def has_large(self) -> bool:
        """Whether a large Service's turn can begin."""
        return self._current is None and self._large.waiting != {}

    @property
    def current(self) -> ObjectRef | None:
        """The large Service whose turn it is."""
        return self._current

    def add(self, refs: Iterable[ObjectRef]) -> None:
        """These are to be compiled."""
        self.small.add(refs)

    def is_taken(self, ref: ObjectRef) -> bool:
        """Whether a Service waits among the large ones, or has its turn."""
        return ref == self._current or ref in self._large

    def postpone(self, ref: ObjectRef) -> None:
        """Have a Service wait among the large ones."""
        self._large.add([ref])

    def begin(self, age_if_gone: Callable[[ObjectRef], str | None]) -> ObjectRef:
        """Give the next large Service its turn.

        Those that are gone come first, the youngest before the others: it is the older
        one that has what both want, and what it leaves would be put into place for the
        younger one, only to be taken away again.

        Args:
            age_if_gone: when a Service was created that is no more; None of others.
        """

        def choose(refs: Collection[ObjectRef]) -> ObjectRef:
            gone = [(age, ref) for ref in refs if (age := age_if_gone(ref)) is not None]
            return max(gone)[1] if gone else next(iter(refs))

        self._current = self._large.take(choose)
        return self._current

    def hold(self, compilation: Compilation) -> None:
        """The turn begins with this compilation."""
        self._compilation = compilation

    def is_held(self, compilation: Compilation) -> bool:
        """Whether a compilation is still wanted."""
        return compilation is self._compilation

    def put(self, parts: Parts) -> None:
        """Its turn ends with these parts."""
        self._compilation, self._parts = None, parts

    def work(self, parts: int) -> None:
        """Do so many of its parts."""
        for _ in range(parts):
            if self._parts is None:
                return
            try:
                next(self._parts)
            except StopIteration:
                self._current = self._parts = None

    def abandon(self) -> ObjectRef | None:
        """Forget the compilation under way; its Service, which has no turn then."""
        if self._compilation is None:
            return None
        ref = self._current
        self._current = self._compilation = None
        return ref


class Pace:
    """How much is compiled and imposed at once.

    Others wait for it, and how long it takes is the kernel's business: adding a real
    server goes through all deleted of late (ip_vs_ctl.c:ip_vs_trash_get_dest).

    Attributes:
        parts: how many parts of a large Service.
        small: how many other Services.
    """

    def __init__(self) -> None:
        self.parts = 1
        self.small = MOST_SMALL

    def note(self, took_s: float) -> None:
        """So long took what was imposed last."""
        if took_s > _SLOW_S:
            self.parts = max(1, self.parts // 2)
            self.small = max(_FEWEST_SMALL, self.small // 2)
        elif took_s < _FAST_S:
            self.parts = min(MOST_PARTS, self.parts * 2)
            self.small = min(MOST_SMALL, self.small * 2)
