"""Frozen values shared by every layer; nothing here decides, reads or writes.

Values are `msgspec.Struct` classes with `frozen=True`: the contract of a frozen
slotted dataclass (immutable, compared and hashed by content) at a tenth of the
cost, which counts because a node holds hundreds of thousands of them. Those that come
in such numbers are also out of the garbage collector's sight (`gc=False`): a frozen
value is made after all it refers to, so it cannot be part of a cycle.
"""
