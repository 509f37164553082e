import pytest

from berth.containers.errors import CommandUnusable, start_failure


@pytest.mark.parametrize(
    ("said", "words", "code"),
    [
        ("executable file `nosuch` not found in $PATH: No such file or directory",
         'exec: "cmd": executable file not found in $PATH', 127),
        ("open executable: Operation not permitted", 'exec: "cmd": permission denied', 126),
        ("the path `/etc` is not a regular file: Operation not permitted", 'exec: "cmd": permission denied', 126),
        ("the path `/etc/passwd` exists but it is not executable: Operation not permitted",
         'exec: "cmd": permission denied', 126),
        ('exec: "/etc": is a directory', 'exec: "cmd": is a directory', 126),
        ("exec: Exec format error", 'exec: "cmd": exec format error', 126),
    ],
)  # fmt: skip
def test_each_runtimes_words_are_dockers(said: str, words: str, code: int) -> None:
    failure = start_failure(said, "cmd")
    assert isinstance(failure, CommandUnusable)
    assert str(failure).endswith(f"unable to start container process: {words}")
    assert failure.exit_code == code


def test_what_a_mount_lacks_is_not_the_command() -> None:
    said = "the path `/data` is not a regular mount: Operation not permitted"
    assert not isinstance(start_failure(said, "cmd"), CommandUnusable)
