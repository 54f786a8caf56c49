"""Frozen values shared by every layer; nothing here decides, reads or writes.

Values are `msgspec.Struct` classes with `frozen=True`: the contract of a frozen
slotted dataclass (immutable, compared and hashed by content) at a tenth of the
cost, which counts because a node holds hundreds of thousands of them.
"""
