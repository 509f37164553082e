"""Progress as skopeo draws it."""

from berth.images.drawing import BlobProgress, Drawing

OLD = [
    b"Getting image source signatures\r\n",
    (
        b"Copying blob e927f44fa64e [==================>-------------------] 3.6MiB / 7.0MiB\r\n"
        b"Copying blob 28d2aa06eb5e [==>-----------------------------------] 512.0KiB / 38.7MiB\r\n"
    ),
    b"\x1b[2A\x1b[J",
    b"Copying blob e927f44fa64e done  \r\nCopying blob 28d2aa06",
    b"eb5e skipped: already exists  \r\n",
    b"\x1b[2A\x1b[JCopying blob e927f44fa64e done  \r\nCopying blob 28d2aa06eb5e skipped: already exists  \r\n",
    b"Copying config b640027f0c [======================================] 887.0b / 887.0b\r\n",
    b"Storing signatures\r\n",
]


def test_bars() -> None:
    drawing = Drawing()
    seen = [one for piece in OLD for one in drawing.feed(piece)]
    assert seen == [
        BlobProgress("e927f44fa64e", int(3.6 * 2**20), 7 * 2**20),
        BlobProgress("28d2aa06eb5e", 512 * 1024, int(38.7 * 2**20)),
        BlobProgress("e927f44fa64e", done=True),
        BlobProgress("28d2aa06eb5e", skipped=True),
    ]


def test_the_form_of_newer_ones() -> None:
    drawing = Drawing()
    line = b"Copying blob sha256:e927f44fa64ecc [=>----] 1.5GiB / 3.0GiB | 5.1 MiB/s\r\n"
    line += b"Copying blob e927f44fa64e done   | \r\n"
    assert drawing.feed(line) == [
        BlobProgress("e927f44fa64e", 3 * 2**29, 3 * 2**30),
        BlobProgress("e927f44fa64e", done=True),
    ]


def test_nothing_is_said_twice_and_junk_is_passed_over() -> None:
    drawing = Drawing()
    line = b"Copying blob e927f44fa64e [--] 0.0b / 7.1MiB\r\n"
    assert len(drawing.feed(line)) == 1
    assert drawing.feed(line) == []
    assert drawing.feed(b"\xff\xfe\x1b[999Zwhatever\r\n" + b"x" * 100_000) == []
