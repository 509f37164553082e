"""Files that users may have edited keep what users wrote."""

from pathlib import Path

from berth.networks.sandboxes import edit_lines


def test_only_our_own_lines_go(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.0.0.2\tweb\n10.0.0.2\tmine\n# note")
    edit_lines(path, add="10.1.0.2\tweb\n")
    assert path.read_text() == "10.0.0.2\tweb\n10.0.0.2\tmine\n# note\n10.1.0.2\tweb\n"
    edit_lines(path, drop="10.0.0.2\tweb\n")
    assert path.read_text() == "10.0.0.2\tmine\n# note\n10.1.0.2\tweb\n"


def test_what_is_no_text_survives_and_a_missing_file_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"# \xff\n10.0.0.2\tweb\n")
    edit_lines(path, drop="10.0.0.2\tweb\n")
    assert path.read_bytes() == b"# \xff\n"
    edit_lines(tmp_path / "none", add="10.0.0.2\tweb\n")
    assert not (tmp_path / "none").exists()
