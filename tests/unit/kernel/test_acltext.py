"""Access control lists in words become what the kernel keeps."""

import pytest

from berth.kernel.acltext import packed
from tests.support.trees import ACL


@pytest.mark.parametrize(
    "text",
    [
        b"user::rw-\nuser:1000:rw-\ngroup::r--\nmask::rw-\nother::---\n",
        b"u::rw-,u:1000:rw-,g::r--,m::rw-,o::---",
        b"user::rw-,user:bob:rw-:1000,group::r--,mask::rw-,other::---",
        b"other::---\nmask::rw-\ngroup::r--\nuser:1000:rw-\t#effective:rw-\nuser::rw-",
    ],
)
def test_words(text: bytes) -> None:
    assert packed(text) == ACL


@pytest.mark.parametrize("text", [b"", b"user:bob:rwx", b"nobody::rwx", b"user::rw", b"user:1:rwx:x"])
def test_what_numbers_cannot_express_is_left_out(text: bytes) -> None:
    assert packed(text) is None
