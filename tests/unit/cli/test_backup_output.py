"""Files of backups: whole or not there, and nothing else in their way."""

import os
import stat
import threading
from pathlib import Path

import pytest

from berth.cli.backup_output import Target
from berth.cli.commands.volume_backup import _recipients
from berth.cli.errors import CommandFailed
from berth.cli.files import binary_output


def opened(output: str, name: str) -> Target:
    target = Target(output, name)
    target.open()
    return target


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = opened(str(tmp_path), "db.tar")
    target.write(b"all")
    assert not (tmp_path / "db.tar").exists()
    target.finish()
    assert os.listdir(tmp_path) == ["db.tar"]
    assert (tmp_path / "db.tar").read_bytes() == b"all"


def test_what_was_begun_goes(tmp_path: Path) -> None:
    (tmp_path / "db.tar").write_text("of yesterday")
    target = opened(str(tmp_path / "db.tar"), "x")
    target.write(b"half")
    target.drop()
    assert os.listdir(tmp_path) == ["db.tar"]
    assert (tmp_path / "db.tar").read_text() == "of yesterday"


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    target = opened(str(pipe), "x")
    target.write(b"all")
    target.finish()
    reader.join()
    assert read == [b"all"]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_device_stays_one() -> None:
    target = opened("/dev/null", "x")
    target.write(b"all")
    target.finish()
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    opened("/dev/null", "x").drop()
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    (tmp_path / "latest.tar").symlink_to("big disk/a.tar")
    target = opened(str(tmp_path / "latest.tar"), "x")
    target.write(b"all")
    target.finish()
    assert (tmp_path / "latest.tar").is_symlink()
    assert os.listdir(tmp_path / "big disk") == ["a.tar"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"open .*/nowhere/db.tar: no such file or directory"):
        opened(str(tmp_path / "nowhere" / "db.tar"), "x")


def test_what_is_made_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    """A volume's files may be secret, and a backup has them all."""
    before = os.umask(0)
    try:
        target = opened(str(tmp_path), "db.tar")
        target.write(b"all")
        target.finish()
        with binary_output(str(tmp_path / "export.tar")) as write:
            write(b"all")
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "db.tar": 0o600,
        "export.tar": 0o600,
    }


def test_only_what_looks_like_a_public_key_is_sent_to_be_encrypted_to(tmp_path: Path) -> None:
    """A path has it, and paths get into logs."""
    keys = tmp_path / "keys"
    keys.write_text("# whose\nage1qqq\nssh-ed25519 AAAA me\n")
    assert _recipients([str(keys), "age1rrr"]) == ["age1qqq", "ssh-ed25519 AAAA me", "age1rrr"]
    for secret in ("# public key: age1qqq\nAGE-SECRET-KEY-1QQQ\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"):
        keys.write_text(secret)
        with pytest.raises(CommandFailed, match="is a secret key"):
            _recipients([str(keys)])
    with pytest.raises(CommandFailed, match="that is a secret key"):
        _recipients(["AGE-SECRET-KEY-1QQQ"])
    keys.write_text("b3BlbnNzaC1rZXktdjE\n")
    with pytest.raises(CommandFailed, match="is no file of public keys"):
        _recipients([str(keys)])
