"""Images beside MUSt3R's memory: what the network says of them, and which of them are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from recon.networks.must3r import Encoded, Entries, Memory, Must3r, Pointmaps, Seen


class Looker:
    """A network and its memory.

    Attributes:
        memory: the images in it have the labels that their users give them.
    """

    def __init__(self, network: Must3r) -> None:
        self.network = network
        self.memory = Memory()
        self._seen: Seen | None = None  # of what was looked at last
        self._entries: Entries | None = None  # of the same, once they are asked for

    def begin(self, images: Sequence[Encoded]) -> list[Pointmaps]:
        """Forget all; images, of one picture each, that make a world together and are remembered as 0, 1, 2..."""
        self.memory = Memory()
        maps = self.look(images)
        for label in range(len(images)):
            self.keep(label, label)
        return maps

    def look(self, images: Sequence[Encoded]) -> list[Pointmaps]:
        """Pointmaps of new images, of one picture each, which see the memory and each other; none is remembered yet."""
        stacks = [Encoded.joined(list(group)) for _, group in groupby(images, lambda each: (each.rows, each.columns))]
        raw, seen = self.network.update(stacks, self.memory)
        self._seen, self._entries = seen, None
        maps = [self.network.pointmaps(each) for each in raw]
        return [each[number : number + 1] for each in maps for number in range(len(each))]

    def keep(self, number: int, label: int, instead: int | None = None) -> None:
        """Remember an image.

        Args:
            number: of the image among those that were looked at last.
            label: what it is called from now on.
            instead: an image to forget for it; may be its own label.
        """
        if self._entries is None:
            assert self._seen is not None, "nothing was looked at"
            self._entries = self.network.entries(self._seen)
        entries = self._entries.of(number)
        if instead is None:
            self.memory.append(entries, [label])
        elif self.memory.size_of(instead) == entries.sizes[0]:
            self.memory.replace(instead, entries, label)
        else:
            self.memory.remove([instead])
            self.memory.append(entries, [label])

    def forget(self, label: int) -> None:
        """Remember an image no more."""
        self.memory.remove([label])

    def render(self, images: Encoded) -> Pointmaps:
        """Pointmaps of images of one size that see the memory alone."""
        return self.network.pointmaps(self.network.render(images, self.memory))
