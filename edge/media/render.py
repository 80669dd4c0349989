"""Renders the prompts of `edge.media.phrases` with espeak-ng: ``python -m edge.media.render``.

A developer runs it after a change of the texts, and the files are committed: no box needs espeak-ng. A
recorded human voice is better; see [audio] prompts.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import wave
from array import array
from pathlib import Path

from edge.media.phrases import PHRASES
from edge.media.prompts import RATE_HZ, RENDERED

VOICES = {"hi": ("hi", "165"), "en": ("en-gb", "168")}
"""Language -> espeak-ng voice and words a minute."""
PEAK = 29_000
SILENCE = 400
"""Samples below this at either end are cut off: a prompt begins at once."""
TAIL_S = 0.12
PAUSE_S = 0.2
_TAPS = 16


def main() -> int:
    RENDERED.mkdir(exist_ok=True)
    for state, texts in PHRASES.items():
        for language, text in texts.items():
            samples = _loud(_trimmed(_resampled(*_spoken(text, *VOICES[language]))))
            path = RENDERED / f"{state}.{language}.wav"
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes(array("h", samples).tobytes())
            print(f"{path.name} {len(samples) / RATE_HZ:.1f} s")
    return 0


def _spoken(text: str, voice: str, speed: str) -> tuple[array[int], int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-s", speed, "-w", str(path), text], check=True)
        with wave.open(str(path), "rb") as file:
            return array("h", file.readframes(file.getnframes())), file.getframerate()


def _resampled(samples: array[int], rate_hz: int) -> list[float]:
    """To 16 kHz by a windowed sinc with its corner at the lower Nyquist frequency."""
    ratio = rate_hz / RATE_HZ
    corner = min(1.0, 1 / ratio)
    out = []
    for n in range(int(len(samples) / ratio)):
        centre = n * ratio
        first = math.ceil(centre - _TAPS)
        value = 0.0
        for k in range(max(first, 0), min(first + 2 * _TAPS, len(samples))):
            x = centre - k
            window = 0.5 + 0.5 * math.cos(math.pi * x / _TAPS)
            y = math.pi * corner * x
            value += samples[k] * corner * window * (math.sin(y) / y if y else 1.0)
        out.append(value)
    return out


def _trimmed(samples: list[float]) -> list[float]:
    """Without silence before and after, and with no longer pause inside than a listener needs."""
    pause = round(PAUSE_S * RATE_HZ)
    out: list[float] = []
    quiet = pause
    for sample in samples:
        quiet = 0 if abs(sample) > SILENCE else quiet + 1
        if quiet <= pause:
            out.append(sample)
    return out[: len(out) - min(quiet, pause)] + [0.0] * round(TAIL_S * RATE_HZ)


def _loud(samples: list[float]) -> list[int]:
    gain = PEAK / max(abs(s) for s in samples)
    return [round(s * gain) for s in samples]


if __name__ == "__main__":
    sys.exit(main())
