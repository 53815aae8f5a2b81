"""A checkpoint on disk is complete or absent, is checked for corruption, and holds no code."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jepakit.errors import UserError
from jepakit.files.tensors import save_tensors
from jepakit.files.writing import DiskFull, digest
from jepakit.storage import checkpoint
from jepakit.storage.checkpoint import Checkpoint, load_tensors, save_checkpoint
from jepakit.storage.folder import refuse_taken
from jepakit.storage.manifest import (
    FORMAT,
    Corrupt,
    best_checkpoint,
    checkpoints,
    checksum_of,
    load_state,
    newest_whole,
    verify,
    verify_frames,
)

FILES = ("manifest.json", "optimizer.safetensors", "state.json", "state.safetensors", "weights.safetensors")


def test_a_path_that_is_not_utf8_is_not_called_corrupt(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(UserError, match=r"caf\\udce9: this name is not UTF-8"):
        load_tensors(path, "weights")
    with pytest.raises(UserError, match="not UTF-8"):  # and no run begins there
        refuse_taken(path)


def content(steps: int = 800, returned: float | None = 20.0, **state: Any) -> Checkpoint:
    weight = torch.arange(12.0).reshape(3, 4).T  # not contiguous
    tensors = {"weights": {"a.weight": weight, "b": torch.tensor(0.5)}, "optimizer": {}, "state": {"/rng": torch.tensor([1, 2])}}
    return Checkpoint(tensors, {"env_steps": steps, "return_last_100": returned, "frames": []} | state)


def names(folder: Path) -> list[int]:
    return [int(path.name) for path in checkpoints(folder)]


def refuse(text: str) -> None:
    raise AssertionError(f"warned: {text}")


def test_a_checkpoint_loads_as_saved(tmp_path: Path) -> None:
    saved = content(returns=[0.1, 1 / 3], none=None)
    path = save_checkpoint(tmp_path, saved)
    verify(path)
    assert newest_whole(tmp_path, refuse) == path
    assert load_state(path) == saved.state
    for name, tensors in saved.tensors.items():
        loaded = load_tensors(path, name)
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[key], tensor) and loaded[key].dtype == tensor.dtype for key, tensor in tensors.items())


def test_nothing_on_disk_is_a_pickle(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, content())
    assert tuple(sorted(file.name for file in path.iterdir())) == FILES
    for file in path.iterdir():
        text = file.read_bytes()
        assert text[:1] == b"{" or text[8:9] == b"{"  # JSON, or safetensors' JSON header after its length


def test_the_newest_and_the_best_checkpoint_are_kept(tmp_path: Path) -> None:
    for steps, returned in ((800, None), (1600, 90.0), (9_600, 30.0), (10_400, 90.0), (20_000, 50.0), (100_000, 60.0)):
        save_checkpoint(tmp_path, content(steps, returned), keep=2)
    assert names(tmp_path) == [10_400, 20_000, 100_000]  # of two equally good ones, the newer
    assert best_checkpoint(tmp_path) == tmp_path / f"{10_400:012d}"
    assert sorted(tmp_path.iterdir()) == checkpoints(tmp_path)
    save_checkpoint(tmp_path, content(200_000, 95.0), keep=1)
    assert names(tmp_path) == [200_000]


def test_there_is_no_best_checkpoint_before_the_first_episode_ends(tmp_path: Path) -> None:
    for steps in (8, 16, 24):
        save_checkpoint(tmp_path, content(steps, None), keep=1)
    assert names(tmp_path) == [24]
    assert best_checkpoint(tmp_path) is None


def test_saving_the_same_env_steps_twice_keeps_one_checkpoint(tmp_path: Path) -> None:
    for _ in range(2):  # on schedule, and because the run ends
        path = save_checkpoint(tmp_path, content())
    assert checkpoints(tmp_path) == [path]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "2026-notes").mkdir()
    (tmp_path / "12").write_text("a file")
    for steps in (800, 1600, 2400):
        save_checkpoint(tmp_path, content(steps), keep=1)
    assert names(tmp_path) == [2400]
    assert (tmp_path / "2026-notes").is_dir()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_partial_checkpoint_is_never_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    whole = save_checkpoint(tmp_path, content(800))
    written: list[Path] = []

    def fail_at_the_second_file(tensors: dict[str, torch.Tensor], path: Path) -> None:
        written.append(path)
        assert checkpoints(tmp_path) == [whole]
        if len(written) == 2:
            raise OSError(number, "no")
        path.write_bytes(b"half")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", fail_at_the_second_file)
        with pytest.raises(OSError, match="no") as failed:
            save_checkpoint(tmp_path, content(1600))
    assert isinstance(failed.value, DiskFull) == (number == errno.ENOSPC)
    assert checkpoints(tmp_path) == [whole]
    if number == errno.ENOSPC:
        assert "the checkpoint of 1,600 env steps needs" in str(failed.value)
        assert sorted(tmp_path.iterdir()) == [whole]  # the partial files are removed, since they may fill the disk

    again = save_checkpoint(tmp_path, content(2400))  # leftovers do no harm, and the next save removes them
    assert sorted(tmp_path.iterdir()) == [whole, again]


def flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def cut(path: Path, left: int) -> None:
    path.write_bytes(path.read_bytes()[:left])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: cut(path, 0),
    "half": lambda path: cut(path, path.stat().st_size // 2),
    "a byte short": lambda path: cut(path, path.stat().st_size - 2),  # two bytes, since the manifest's last byte is a newline
    "first bit": lambda path: flip(path, 0),
    "a bit in the middle": lambda path: flip(path, path.stat().st_size // 2, 3),
    "last bit": lambda path: flip(path, path.stat().st_size - 2, 6),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_corrupt_checkpoint_is_detected_and_the_previous_one_is_used(tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    before, newest = (save_checkpoint(tmp_path, content(steps)) for steps in (800, 1600))
    damage(newest / name)
    with pytest.raises(Corrupt, match=name):
        verify(newest)
    warnings: list[str] = []
    assert newest_whole(tmp_path, warnings.append) == before
    (warning,) = warnings
    assert str(newest) in warning
    assert "is corrupt" in warning
    assert name in warning


def test_a_flipped_bit_in_a_manifest_is_detected_or_harmless(tmp_path: Path) -> None:
    """A flipped bit in the format makes the manifest corrupt; it is not mistaken for a newer format."""
    path = save_checkpoint(tmp_path, content())
    manifest = path / "manifest.json"
    whole = manifest.read_bytes()
    told = {name: value for name, value in json.loads(whole).items() if name != "checksum"}
    unnoticed = 0
    for byte in range(0, len(whole), 4):
        flip(manifest, byte, byte % 8)
        try:
            verify(path)
        except Corrupt:
            pass
        else:
            now = json.loads(manifest.read_bytes())
            assert {name: now[name] for name in told} == told
            unnoticed += 1
        manifest.write_bytes(whole)
    assert unnoticed < 30  # white space, and the name of the checksum itself


def test_newest_whole_is_none_without_an_intact_checkpoint(tmp_path: Path) -> None:
    assert newest_whole(tmp_path / "nowhere", refuse) is None
    for steps in (800, 1600):
        (save_checkpoint(tmp_path, content(steps)) / "state.json").unlink()
    warnings: list[str] = []
    assert newest_whole(tmp_path, warnings.append) is None
    assert len(warnings) == 2


def test_a_checkpoint_with_corrupt_frames_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "replay"
    folder.mkdir()
    shared, new = folder / "frames-1.safetensors", folder / "frames-2.safetensors"
    for file in (shared, new):
        file.write_bytes(file.name.encode())
    segments = [{"name": file.name, "bytes": file.stat().st_size, "sha256": digest(file), "end": [3]} for file in (shared, new)]
    before = save_checkpoint(tmp_path / "checkpoints", content(800, frames=segments[:1]))
    newest = save_checkpoint(tmp_path / "checkpoints", content(1600, frames=segments))
    assert newest_whole(tmp_path / "checkpoints", refuse, folder) == newest
    flip(new, 5)
    warnings: list[str] = []
    assert newest_whole(tmp_path / "checkpoints", warnings.append, folder) == before
    assert "frames-2.safetensors" in warnings[0]
    assert newest_whole(tmp_path / "checkpoints", refuse) == newest  # its weights are intact
    cut(shared, 4)
    with pytest.raises(Corrupt, match=r"frames-1\.safetensors has 4 bytes of 20"):
        verify_frames(before, folder)
    assert newest_whole(tmp_path / "checkpoints", warnings.append, folder) is None


def rewrite(path: Path, **changes: Any) -> None:
    """Change a manifest and update its checksum, as another version of jepakit might write it."""
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    manifest["checksum"] = checksum_of(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_other_formats_are_refused_with_their_version(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, content())
    rewrite(path, format=FORMAT + 1, jepakit="7.8.9", files={"all.safetensors": {"bytes": 1, "sha256": ""}})
    with pytest.raises(UserError, match=rf"^jepakit 7\.8\.9 \(format {FORMAT + 1}\) wrote .*; this one reads format {FORMAT}"):
        newest_whole(tmp_path, refuse)
    shutil.rmtree(path)
    old = tmp_path / "000000000800"  # as the first version of jepakit wrote it
    old.mkdir()
    (old / "counters.json").write_text('{"env_steps": 800}')
    with pytest.raises(UserError, match=r"an older jepakit wrote .* \(format 1\)"):
        newest_whole(tmp_path, refuse)


@pytest.mark.parametrize(
    "manifest",
    [
        *("[]", "7", "{}", "[" * 100_000, "\ud800", '{"format": 2, "files": 3}', '{"format": 2, "files": {}}'),
        *('{"format": 2, "files": {"weights.safetensors": 3}}', '{"format": 2, "files": {"state.json": {"bytes": "many", "sha256": 1}}}'),
    ],
)
def test_an_invalid_manifest_counts_as_corrupt(tmp_path: Path, manifest: str) -> None:
    path = save_checkpoint(tmp_path, content())
    (path / "manifest.json").write_bytes(manifest.encode(errors="surrogatepass"))
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        verify(path)
    assert best_checkpoint(tmp_path) is None


class Bomb:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_a_pickle_named_safetensors_is_not_executed(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, content())
    (path / "weights.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    torch.save({"a": Bomb(tmp_path / "ran")}, path / "state.safetensors")
    files = {file.name: {"bytes": file.stat().st_size, "sha256": digest(file)} for file in path.iterdir() if file.name != "manifest.json"}
    rewrite(path, files=files)
    verify(path)  # the checksums match
    for name in ("weights", "state"):
        with pytest.raises(Corrupt, match=f"{name}.safetensors"):
            load_tensors(path, name)
    assert not (tmp_path / "ran").exists()


def test_who_may_read_a_folder_may_read_its_tensors(tmp_path: Path) -> None:
    for mode in (0o755, 0o700):
        folder = tmp_path / oct(mode)
        folder.mkdir()
        folder.chmod(mode)
        save_tensors({"a": torch.zeros(2)}, folder / "a.safetensors")
        assert (folder / "a.safetensors").stat().st_mode & 0o777 == mode & 0o666
