"""A set of whole numbers kept as sorted runs: what is used of a range, and the lowest that is not. Pure.

A question costs the same whether ten numbers are used or sixty thousand, as long as they lie together, which numbers
given away from below do. Must not: know what the numbers stand for.
"""

from bisect import bisect_left, bisect_right


class Spans:
    """The runs, disjoint and never touching."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        """Tell whether a number is in the set."""
        return self.end_of_overlap(number, number) is not None

    def add(self, first: int, last: int) -> None:
        """Put ``first … last`` in; parts that are in stay in."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take ``first … last`` out; parts that are not in stay out."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        left = [(self._firsts[low], first - 1)] if self._firsts[low] < first else []
        right = [(last + 1, self._lasts[high - 1])] if self._lasts[high - 1] > last else []
        self._firsts[low:high] = [begin for begin, _ in left + right]
        self._lasts[low:high] = [end for _, end in left + right]

    def end_of_overlap(self, first: int, last: int) -> int | None:
        """Return the end of the lowest run that shares a number with ``first … last``, None for none."""
        at = bisect_left(self._lasts, first)
        if at < len(self._firsts) and self._firsts[at] <= last:
            return self._lasts[at]
        return None

    def lowest_free(self, number: int) -> int:
        """Return the lowest number from `number` on that is not in the set."""
        end = self.end_of_overlap(number, number)
        return number if end is None else end + 1

    def count(self, first: int, last: int) -> int:
        """Return how many numbers of ``first … last`` are in the set; costs as much as there are runs."""
        total = 0
        for at in range(bisect_left(self._lasts, first), bisect_right(self._firsts, last)):
            total += min(last, self._lasts[at]) - max(first, self._firsts[at]) + 1
        return total
