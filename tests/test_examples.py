"""The examples that take a data set run on a small one of the same format, and learn it."""

from __future__ import annotations

import gzip
import importlib
import io
import struct
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(request, monkeypatch):
    """The module that the test's parameter names, imported as a script imports its neighbours."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module(request.param)


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def pictures(tmp_path):
    """Files in the layout of MNIST; the class is the position of a bright bar."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 320), ("t10k", 60)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels):
            image[4 + 2 * label : 6 + 2 * label, 4:24] = 250
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


@pytest.fixture
def recordings(tmp_path):
    """An archive in the layout of the spoken digits: after silence, a tone by the digit."""
    rng = np.random.default_rng(0)
    path = tmp_path / "recordings.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for digit in range(10):
            for take in range(12):
                seconds = np.arange(rng.integers(1200, 4000)) / 8000
                tone = np.sin(2 * np.pi * 250 * (digit + 1) * seconds)
                tone[: len(tone) // 2] = 0
                samples = 8000 * tone + rng.normal(0, 100, len(tone))
                contents = io.BytesIO()
                with wave.open(contents, "wb") as sound:
                    sound.setnchannels(1)
                    sound.setsampwidth(2)
                    sound.setframerate(8000)
                    sound.writeframes(samples.astype("<i2").tobytes())
                member = tarfile.TarInfo(f"recordings/{digit}_tester_{take}.wav")
                member.size = len(contents.getvalue())
                archive.addfile(member, io.BytesIO(contents.getvalue()))
    return path


@pytest.mark.parametrize("example", ["lenet"], indirect=True)
def test_lenet(example, pictures, capsys):
    weights = pictures / "lenet.safetensors"
    arguments = [str(pictures), "--epochs", "8", "--batch-size", "16", "--save", str(weights)]
    assert example.main(arguments) == 1.0
    assert "test accuracy 100.00% after 8 epochs" in capsys.readouterr().out
    assert weights.stat().st_size > 4 * 60_000


@pytest.mark.parametrize("example", ["convnets"], indirect=True)
@pytest.mark.parametrize("network", ["resnet", "inception", "xception"])
def test_convnets(example, network, pictures):
    arguments = ["--network", network, "--epochs", "6", "--batch-size", "16", "--channels", "4"]
    assert example.main([str(pictures), *arguments]) > 0.9


@pytest.mark.parametrize("example", ["spoken_digits"], indirect=True)
def test_spoken_digits(example, recordings):
    arguments = ["--epochs", "12", "--batch-size", "8", "--hidden", "16"]
    assert example.main([str(recordings), *arguments]) > 0.9


@pytest.mark.parametrize("example", ["spoken_digits"], indirect=True)
def test_mel_bands_cover_the_spectrum_once(example):
    bands = example.mel_bands()
    assert bands.shape == (129, 40)
    inside = bands[4:-12].sum(axis=1)  # between the peaks of the first and the last band
    np.testing.assert_allclose(inside, 1, rtol=1e-12)


@pytest.mark.parametrize("example", ["lenet", "convnets", "spoken_digits"], indirect=True)
def test_missing_data_is_an_error_of_the_command_line(example, tmp_path, capsys):
    with pytest.raises(SystemExit):
        example.main([str(tmp_path / "nothing")])
    assert "error: data: there is no" in capsys.readouterr().err


@pytest.mark.parametrize("example", ["lenet"], indirect=True)
def test_a_file_of_another_format_is_refused(example, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match="not an IDX file"):
        example.read_idx(path)
