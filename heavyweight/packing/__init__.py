"""A run in one file: packed where it was measured, unpacked where it is read."""

from heavyweight.packing.pack import Packed, pack, unfinished
from heavyweight.packing.unpack import unpack

__all__ = ["Packed", "pack", "unfinished", "unpack"]
