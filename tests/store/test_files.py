"""The layer over the operating system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edge.store.files import RealFiles


def test_a_file_is_made_whole_and_read_and_written_at_any_place(tmp_path: Path) -> None:
    files, path = RealFiles(), tmp_path / "new" / "press-000.seg"
    files.create(path, 8192)
    file = files.open(path, write=True)
    assert file.size() == 8192
    file.write(5000, b"abc")
    file.sync()
    assert file.read(4999, 5) == b"\0abc\0"
    assert file.read(8190, 100) == b"\0\0"
    file.close()
    assert path.read_bytes()[5000:5003] == b"abc"


def test_the_blocks_of_a_new_file_are_there_before_anything_is_written_to_it(tmp_path: Path) -> None:
    """Otherwise a disk that is full later could refuse a press."""
    path = tmp_path / "a.seg"
    RealFiles().create(path, 65536)
    assert os.stat(path).st_blocks * 512 >= 65536


def test_a_file_is_not_seen_under_its_name_before_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        RealFiles().create(tmp_path / "a.seg", 4096)
    assert "a.seg" not in RealFiles().names(tmp_path)


def test_names_are_sorted_and_an_absent_folder_is_an_empty_one(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).touch()
    assert RealFiles().names(tmp_path) == ["a", "b"]
    assert RealFiles().names(tmp_path / "absent") == []


def test_a_file_opened_for_reading_refuses_a_write(tmp_path: Path) -> None:
    RealFiles().create(tmp_path / "a.seg", 4096)
    file = RealFiles().open(tmp_path / "a.seg", write=False)
    with pytest.raises(OSError):
        file.write(0, b"x")
    file.close()
