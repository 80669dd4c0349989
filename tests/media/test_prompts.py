"""The spoken prompts."""

from __future__ import annotations

import wave
from array import array
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from edge.errors import ConfigError
from edge.media.phrases import PHRASES
from edge.media.player import TONE, Clip
from edge.media.prompts import RATE_HZ, RENDERED, Prompts, read_wav
from edge.protocol.common import CitizenState, Language


def _wav(path: Path, rate: int = RATE_HZ, channels: int = 1, width: int = 2, frames: int = 160) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"\x11" * (frames * channels * width))
    return path


def test_there_is_a_prompt_for_every_state_a_citizen_is_told_in_every_language() -> None:
    assert set(PHRASES) == {*get_args(CitizenState), "test"} - {"idle"}
    for state, texts in PHRASES.items():
        assert set(texts) == set(get_args(Language))
        for language in texts:
            assert (RENDERED / f"{state}.{language}.wav").exists()


def test_no_prompt_keeps_a_citizen_waiting() -> None:
    prompts = Prompts(["hi", "en"])
    for state, texts in PHRASES.items():
        for language in texts:
            samples = array("h", prompts[Clip(state, language)])
            assert 0.8 < len(samples) / RATE_HZ < 4
            assert any(abs(s) > 300 for s in samples[:320]), "it begins at once"


def test_the_tone_lasts_200_ms_and_does_not_click() -> None:
    samples = array("h", Prompts(["en"])[TONE])
    assert len(samples) == 0.2 * RATE_HZ
    assert max(abs(samples[0]), abs(samples[-1])) < 500
    # 880 Hz: the sign changes twice a period
    assert abs(sum((a >= 0) != (b >= 0) for a, b in pairwise(samples)) - 2 * 880 * 0.2) <= 2


def test_a_recording_replaces_the_rendered_prompt_of_its_name(tmp_path: Path) -> None:
    _wav(tmp_path / "seen.hi.wav", frames=320)
    prompts = Prompts(["hi", "en"], tmp_path)
    assert len(prompts[Clip("seen", "hi")]) == 640
    assert prompts[Clip("seen", "en")] == Prompts(["en"])[Clip("seen", "en")]


def test_a_recording_that_cannot_be_used_is_told_and_the_rendered_prompt_speaks(tmp_path: Path) -> None:
    _wav(tmp_path / "seen.hi.wav", rate=44100, channels=2)
    prompts = Prompts(["hi"], tmp_path)
    assert prompts[Clip("seen", "hi")] == Prompts(["hi"])[Clip("seen", "hi")]
    assert len(prompts.faults) == 1
    assert "44100 Hz, 2 channel(s), 16 bit; save it as 16000 Hz, mono, 16 bit" in prompts.faults[0]


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        Prompts(["hi"], tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a wav file at all", bytes(100)])
def test_a_file_that_is_no_wav_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.wav is not a WAV file"):
        read_wav(path)


def test_an_empty_or_endless_recording_is_refused(tmp_path: Path) -> None:
    for frames in (0, 16 * RATE_HZ):
        with pytest.raises(ConfigError, match="a prompt lasts up to 15 s"):
            read_wav(_wav(tmp_path / "x.wav", frames=frames))


def test_volume_scales_every_clip() -> None:
    half, full = (array("h", Prompts(["hi"], None, v)[Clip("sent", "hi")]) for v in (0.5, 1))
    assert all(abs(h - f / 2) <= 1 for h, f in zip(half, full, strict=True))
    assert not any(array("h", Prompts(["hi"], None, 0)[TONE]))
