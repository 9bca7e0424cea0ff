"""Outputs appear whole or not at all, inside their folder, whatever the disk does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts import ROOT, run_stage

from stages.common.errors import UserError
from stages.common.files import append_to, sha256_file, write_whole

KIB = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(path: Path, data: bytes = b"new") -> str:
    with pytest.raises(UserError) as caught:
        write_whole(path, data)
    said = str(caught.value)
    assert said.endswith("; nothing was written")
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    return said


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk) -> None:
    write_whole(small_disk / "table", b"old")
    assert "No space left on device" in refused(small_disk / "table", b"x" * 512 * KIB)
    assert (small_disk / "table").read_bytes() == b"old"
    assert names(small_disk) == ["table"]
    # And with room again the next write is well.
    write_whole(small_disk / "table", b"y" * 100 * KIB)
    assert (small_disk / "table").read_bytes() == b"y" * 100 * KIB


def test_a_disk_with_no_room_for_a_name_is_one_line(small_disk) -> None:
    with pytest.raises(OSError, match="No space"), (small_disk / "filler").open("wb") as file:
        while True:
            file.write(b"x" * KIB)
            file.flush()
    assert "No space left on device" in refused(small_disk / "folder" / "table", b"x" * KIB)
    assert not list(small_disk.glob("**/*table*"))


def test_a_limit_on_file_sizes_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    write_whole(tmp_path / "table", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Without a handler the kernel ends a process that writes past the limit.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * KIB, before[1]))
        said = refused(tmp_path / "table", b"x" * 128 * KIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in said
    assert (tmp_path / "table").read_bytes() == b"old"
    assert names(tmp_path) == ["table"]


def test_a_read_only_disk_is_one_line(small_disk) -> None:
    write_whole(small_disk / "table", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "Read-only file system" in refused(small_disk / "table")
    assert "Read-only file system" in refused(small_disk / "folder" / "table")
    assert (small_disk / "table").read_bytes() == b"old"


def test_a_folder_without_permission_is_one_line() -> None:
    # Nothing is forbidden to root, and nobody may enter root's own folders.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            assert "Permission denied" in refused(folder / "table")
        finally:
            os.seteuid(user)
        folder.chmod(0o755)
        assert names(folder) == []


def test_a_folder_in_the_place_of_an_output_stays(tmp_path) -> None:
    (tmp_path / "table" / "inside").mkdir(parents=True)
    assert "Is a directory" in refused(tmp_path / "table")
    assert names(tmp_path) == ["table"]
    assert names(tmp_path / "table") == ["inside"]


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path) -> None:
    (tmp_path / "measure").write_text("a file")
    assert "Not a directory" in refused(tmp_path / "measure" / "table")
    assert (tmp_path / "measure").read_text() == "a file"


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"])
def test_a_name_that_no_disk_takes_is_one_line(tmp_path, name) -> None:
    with pytest.raises(UserError, match="nothing was written"):
        write_whole(tmp_path / name, b"new")
    assert names(tmp_path) == []


def test_a_vanished_folder_is_made_again(tmp_path) -> None:
    path = tmp_path / "measure" / "table"
    write_whole(path, b"old")
    path.unlink()
    path.parent.rmdir()
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch) -> None:
    write_whole(tmp_path / "table", b"old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.common.files.os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "table", b"new")
    assert (tmp_path / "table").read_bytes() == b"old"
    assert names(tmp_path) == ["table"]


def test_a_link_in_the_place_of_an_output_is_replaced_not_followed(tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "table").symlink_to(precious)
    write_whole(tmp_path / "table", b"new")
    assert precious.read_text() == "kept"
    assert not (tmp_path / "table").is_symlink()
    assert (tmp_path / "table").read_bytes() == b"new"


@pytest.mark.parametrize("write", [write_whole, lambda path, data: append_to(path)])
@pytest.mark.parametrize("place", ["measure", "measure/jax-portable"])
def test_no_link_leads_an_output_out_of_its_folder(tmp_path, monkeypatch, place, write) -> None:
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "data" / place).parent.mkdir(parents=True)
    (tmp_path / "data" / place).symlink_to(outside)
    path = Path("data/measure/jax-portable/table")
    with pytest.raises(UserError, match=f"{path}: a link leads out of data/; nothing was written"):
        write(path, b"new")
    assert names(outside) == []


def test_a_dangling_link_makes_no_folder_outside(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "measure").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="a link leads out of data/"):
        write_whole(Path("data/measure/table"), b"new")
    assert not (tmp_path / "outside").exists()


def test_results_may_be_kept_on_another_disk_by_a_link(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "big")
    write_whole(Path("data/measure/table"), b"new")
    assert (tmp_path / "big" / "measure" / "table").read_bytes() == b"new"


def test_a_file_that_cannot_be_hashed_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match=r"No such file or directory$"):
        sha256_file(tmp_path / "absent")
    with pytest.raises(UserError, match=r"Is a directory$"):
        sha256_file(tmp_path)


def test_a_stage_on_a_full_disk_ends_in_one_line_and_leaves_no_output(small_disk) -> None:
    (small_disk / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    done = run_stage(small_disk, "checkpoint")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: data/checkpoint/model.safetensors: No space left on device")
    left = [path.name for path in small_disk.glob("data/**/*") if path.is_file()]
    assert left == ["config.json"], "no half checkpoint, no temporary file, no model.json"
