"""Which problems are told when."""

from ipvsctl.controller.problem_log import News, ProblemLog
from ipvsctl.model.problem import Kind, ObjectRef, Problem, in_words
from ipvsctl.model.problem_book import Subject


def subject(name: str, namespace: str = "default") -> Subject:
    """A Service."""
    return Kind.SERVICE, ObjectRef(namespace, name)


class Book:
    """What is wrong with each object, and a log that follows it."""

    def __init__(self) -> None:
        self._problems: dict[Subject, tuple[Problem, ...]] = {}
        self.log = ProblemLog(lambda subject: self._problems.get(subject, ()))

    def have(self, subject: Subject, count: int) -> None:
        """An object has so many problems."""
        kind, ref = subject
        self._problems[subject] = in_words(
            Problem(kind=kind, ref=ref, field="f", value=f"{n:06}", reason="why")
            for n in range(count)
        )
        self.log.note([subject])


def told(news: tuple[News, ...]) -> list[tuple[str, int]]:
    """Values, and how many more each stands for."""
    return [(one.problem.value, one.more) for one in news]


def test_a_few_are_told_one_by_one() -> None:
    """At once, and once."""
    book = Book()
    book.have(subject("web"), 2)
    assert told(book.log.take(0)) == [("000000", 0), ("000001", 0)]
    book.have(subject("web"), 3)
    assert told(book.log.take(1)) == [("000002", 0)]
    assert told(book.log.take(100)) == []


def test_what_comes_back_is_told_again() -> None:
    """It was gone meanwhile."""
    book = Book()
    for now_s in range(2):
        book.have(subject("web"), 1)
        assert told(book.log.take(now_s)) == [("000000", 0)]
        book.have(subject("web"), 0)
        assert told(book.log.take(now_s)) == []


def test_a_burst_is_one_line() -> None:
    """With how many more there are; the observer has it as two problems."""
    book = Book()
    book.have(subject("web"), 20_000)
    (news,) = book.log.take(0)
    assert (news.problem.value, news.more) == ("000000", 19_999)
    assert [str(problem) for problem in news.problems] == [
        "Service default/web: f: 000000: why",
        "Service default/web: f: and 19,999 more: why",
    ]
    book.have(subject("web"), 20_001)
    assert book.log.take(1000) == ()


def test_a_burst_that_grows_waits_for_its_end() -> None:
    """While a Service of its namespace is put into place, part by part."""
    book = Book()
    mallory = subject("b", "mallory")
    for parts in range(1, 100):
        book.have(mallory, parts * 100)
        assert book.log.take(parts, unfinished=ObjectRef("mallory", "a")) == ()
    book.have(subject("web"), 1)
    assert told(book.log.take(100, ObjectRef("mallory", "a"))) == [("000000", 0)]
    assert told(book.log.take(100)) == [("000000", 9_899)]


def test_one_object_cannot_fill_the_log() -> None:
    """It has a few lines a time, and the last of what it wanted to say comes later."""
    book = Book()
    lines = 0
    for now in range(1, 1001):
        book.have(subject("web"), now % 2)
        lines += len(book.log.take(now / 100))
    assert 1 <= lines <= 10
    book.have(subject("web"), 1)
    assert len(book.log.take(1000)) == 1


def test_twenty_thousand_objects_cannot_either() -> None:
    """How many were left out is said; all of them are known elsewhere."""
    book = Book()
    for number in range(20_000):
        book.have(subject(f"s{number}"), 1)
    lines = sum(len(book.log.take(now_s)) for now_s in range(10))
    assert 0 < lines <= 150
    assert book.log.take_given_up() >= 19_000
    assert book.log.take_given_up() == 0
