"""Synthetic voices: eSpeak NG through ctypes, one utterance at a time, the same bytes every time.

eSpeak NG keeps state between utterances (wave phase, echo buffer, random numbers) that ``espeak_Terminate`` does not
reset: the same sentence sounds a little different after another one. Each utterance is therefore spoken by a freshly
loaded copy of the library (about 2 ms). The library is not thread-safe: use processes.
"""

from __future__ import annotations

import _ctypes
import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

# eSpeak NG voices by language; more than one is an accent. Paths, not names: a name makes each fresh copy of the
# library read every voice file it has (5 ms), and a path is found only where the file is spelt in lower case.
ACCENTS = {"en": ("gmw/en", "gmw/en-029"), "zh": ("sit/cmn",), "ja": ("jpx/ja",), "fr": ("roa/fr",)}

# Speakers by split: voice variants of eSpeak NG. Variants derived from one another (steph, steph2) stay in one split.
# Left out: whispers (noise by themselves); robots, strong echoes and those whose spectrum is far from the others'
# (coloration by themselves); Reed and caleb, which read uninitialised memory and differ from run to run.
SPEAKERS = {
    "train": (
        *("Alex", "Andrea", "Andy", "Denis", "Gene", "Gene2", "Mario", "Michael", "Mike", "mike2"),
        *("Mr serious", "adam", "antonio", "aunty", "benjamin", "boris", "croak", "ed", "f1", "f3", "f4"),
        *("grandpa", "ian", "john", "kaukovalta", "klatt4", "klatt5", "m1", "m2", "m4", "m5", "m6"),
        *("marcelo", "max", "michel", "miguel", "pablo", "pedro", "quincy", "robert", "sandro", "shelby"),
        "travis",
    ),
    "val": ("Lee", "belinda", "david", "f5", "m8", "norbert", "rob"),
    "test": (
        *("Annie", "Nguyen", "edward", "edward2", "f2", "grandma", "gustave", "iven", "iven3", "iven4"),
        *("linda", "m3", "m7", "paul", "steph", "victor"),
    ),
}

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_DONT_EXIT = 1 << 15
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Voice:
    """One way of speaking: an accent, a speaker, and how it is used.

    Attributes:
        accent: eSpeak NG voice name, of ``ACCENTS``.
        speaker: variant name, of ``SPEAKERS``.
        pitch, pitch_range: 0..100, 50 is the speaker's own.
        rate: words a minute, 80..450.
    """

    accent: str
    speaker: str
    pitch: int = 50
    pitch_range: int = 50
    rate: int = 170

    @staticmethod
    def draw(language: str, split: str, rng: np.random.Generator) -> Voice:
        """A random voice of a language among the speakers of a split."""
        return Voice(
            accent=str(rng.choice(ACCENTS[language])),
            speaker=str(rng.choice(SPEAKERS[split])),
            pitch=int(rng.integers(25, 76)),
            pitch_range=int(rng.integers(30, 71)),
            rate=int(rng.integers(145, 196)),
        )

    def __str__(self) -> str:
        return f"{self.accent}+{self.speaker}/{self.pitch}/{self.pitch_range}/{self.rate}"


def speak(text: str, voice: Voice) -> Waveform:
    """Speak one text: mono float32, (samples,), 16 kHz, the synthesiser's own level.

    The result depends on the arguments only, not on what was spoken before.

    Raises:
        RuntimeError: eSpeak NG refuses to start, does not know the voice, or fails.
    """
    import espeakng_loader

    pieces: list[bytes] = []

    def keep(samples: int | None, count: int, _: int | None) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    data = Path(espeakng_loader.get_data_path())
    if not (data / "voices" / "!v" / voice.speaker).is_file():  # the library would take another without a word
        raise RuntimeError(f"eSpeak NG has no voice '{voice.accent}+{voice.speaker}'")
    callback = _CALLBACK(keep)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT)
        if rate <= 0:
            raise RuntimeError(f"eSpeak NG does not start with the data in {data}")
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(f"{voice.accent}+{voice.speaker}".encode()):
            raise RuntimeError(f"eSpeak NG has no voice '{voice.accent}+{voice.speaker}'")
        for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode() + b"\0"
        if library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None):
            raise RuntimeError(f"eSpeak NG cannot speak {text!r} as {voice}")
        library.espeak_Synchronize()
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    speech = np.frombuffer(b"".join(pieces), np.int16).astype(np.float32) / 32768
    return soxr.resample(speech, rate, SAMPLING_RATE).astype(np.float32)
