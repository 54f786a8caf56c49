"""Packet marks that stand for a virtual server (fwmarks)."""

from typing import Final

import msgspec

ALL_BITS: Final = 0xFFFF_FFFF

KUBELET_DROP_MARK: Final = 0x8000
"""The kubelet's own bit (KUBE-MARK-DROP); a packet that has it may be dropped."""


class MarkRange(msgspec.Struct, frozen=True):
    """Marks that are alike in some bits and numbered by the others.

    Attributes:
        value: the bits that every mark has in `mask`, and 0 elsewhere; never 0 as a
            whole, since a packet without a mark has 0.
        mask: the bits that are the same in all of them.
    """

    value: int = 0x20000
    mask: int = 0xFFFFC000

    def __str__(self) -> str:
        return f"{self.value:#x}/{self.mask:#x}"

    def __contains__(self, mark: int) -> bool:
        return mark & self.mask == self.value

    def __len__(self) -> int:
        return 1 << (ALL_BITS & ~self.mask).bit_count()

    def mark(self, index: int) -> int:
        """The mark with that number, from 0; larger numbers are larger marks."""
        mark = self.value
        for bit in range(32):
            if not self.mask >> bit & 1:
                mark |= (index & 1) << bit
                index >>= 1
        return mark

    def without(self, bits: int) -> "MarkRange":
        """The marks that have none of these bits."""
        return MarkRange(self.value, self.mask | bits)
