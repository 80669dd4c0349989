"""The spoken prompts as samples: 16 kHz, mono, 16 bit signed, little endian, in memory from the start on.

``STATE.LANGUAGE.wav`` from the rendered ones in ``voice/``, or from the folder [audio] prompts where it has a
file of that name.
"""

from __future__ import annotations

import logging
import math
import sys
import wave
from array import array
from collections.abc import Iterable
from pathlib import Path

from edge.errors import ConfigError
from edge.media.phrases import PHRASES
from edge.media.player import TONE, Clip
from edge.protocol.common import Language

log = logging.getLogger(__name__)

RATE_HZ = 16_000
MAX_S = 15
RENDERED = Path(__file__).with_name("voice")

TONE_HZ = 880
TONE_S = 0.2
_FADE_S = 0.005
_TONE_LEVEL = 0.6


class Prompts:
    """All clips in the given languages, their loudness scaled by `volume` (0 to 1).

    Raises:
        ConfigError: the folder of recordings does not exist, or a rendered prompt is missing. A recording
            that cannot be used is told in `faults` and the rendered prompt is taken: a bad file mutes no box.
    """

    def __init__(
        self, languages: Iterable[Language], recordings: Path | None = None, volume: float = 1
    ) -> None:
        if recordings is not None and not recordings.is_dir():
            raise ConfigError(
                f"audio.prompts = {recordings}: there is no such folder; make it, or leave it out"
            )
        self.faults: list[str] = []
        self._clips = {TONE: _scaled(tone(), volume)}
        for state in PHRASES:
            for language in languages:
                clip = Clip(state, language)
                self._clips[clip] = _scaled(self._find(clip, recordings), volume)

    def __getitem__(self, clip: Clip) -> bytes:
        """The samples of a clip."""
        return self._clips[clip]

    def _find(self, clip: Clip, recordings: Path | None) -> bytes:
        recorded = recordings / f"{clip.tag}.wav" if recordings is not None else None
        if recorded is not None and recorded.exists():
            try:
                return read_wav(recorded)
            except ConfigError as error:
                log.error("recording not used: %s", error)
                self.faults.append(str(error))
        return read_wav(RENDERED / f"{clip.tag}.wav")


def read_wav(path: Path) -> bytes:
    """The samples of a WAV file.

    Raises:
        ConfigError: not readable, not in the product's format, empty, or longer than 15 s.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            frames = file.getnframes()
            if (rate, channels, width) != (RATE_HZ, 1, 2):
                found = f"{rate} Hz, {channels} channel(s), {width * 8} bit"
                raise ConfigError(f"{path} has {found}; save it as 16000 Hz, mono, 16 bit")
            if not 0 < frames <= MAX_S * RATE_HZ:
                raise ConfigError(f"{path} lasts {frames / rate:.1f} s; a prompt lasts up to {MAX_S} s")
            return file.readframes(frames)
    except (OSError, EOFError, wave.Error) as error:
        raise ConfigError(f"{path} is not a WAV file that can be read: {error}") from None


def tone() -> bytes:
    """The attention tone: 880 Hz for 200 ms, faded in and out so that it does not click."""
    count, fade = round(TONE_S * RATE_HZ), _FADE_S * RATE_HZ
    samples = array("h")
    for n in range(count):
        gain = min(1.0, (n + 1) / fade, (count - n) / fade)
        samples.append(round(32767 * _TONE_LEVEL * gain * math.sin(2 * math.pi * TONE_HZ * n / RATE_HZ)))
    return _little_endian(samples)


def _scaled(pcm: bytes, volume: float) -> bytes:
    if volume == 1:
        return pcm
    factor = round(volume * 256)
    return _little_endian(array("h", [s * factor >> 8 for s in _little(pcm)]))


def _little(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _little_endian(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
