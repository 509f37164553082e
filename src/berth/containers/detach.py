"""Detach keys: parse them, and find them in what a terminal sends. Pure."""

from typing import Final

from berth.base.errors import InvalidArgument

DEFAULT: Final = "ctrl-p,ctrl-q"

#: What may follow ``ctrl-`` besides the letters: they follow Z in ASCII (0x1b-0x1f) or precede A.
_CONTROL: Final = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class BadDetachKeys(InvalidArgument):
    """The keys are not written as ``ctrl-x,a``."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid detach keys ({text}) provided")


def parse_keys(text: str) -> bytes:
    """Parse ``ctrl-p,ctrl-q`` or ``a,b`` into the bytes a terminal sends. Raises `BadDetachKeys`."""
    keys = bytearray()
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
        elif word.startswith("ctrl-") and len(word) == 6:
            letter = word[5]
            if "a" <= letter <= "z":
                keys.append(ord(letter) - ord("a") + 1)
            elif letter in _CONTROL:
                keys.append(_CONTROL[letter])
            else:
                raise BadDetachKeys(text)
        else:
            raise BadDetachKeys(text)
    return bytes(keys)


class DetachFilter:
    """Passes on what a terminal sends until the keys come, one after the other.

    Keys typed so far are held back, and passed on after all when the next is another one.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """Return what to pass on; look at `detached` afterwards."""
        if not self._keys or (not self._matched and self._keys[0] not in data):
            return data
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    break
                continue
            if self._matched:
                out += self._keys[: self._matched]
                self._matched = 0
                if byte == self._keys[0]:
                    self._matched = 1
                    continue
            out.append(byte)
        return bytes(out)
