"""Prints the wideband PESQ score (ITU-T P.862.2, MOS-LQO) of each WAV file after the first one.

The first one is the original, which repeats in the others, from any place of it on. All are mono, 16 bits,
48 kHz. PESQ itself aligns what is late by less than an utterance: 2 s late cost 0.7 of 4.0.
"""
import sys
import wave

import numpy
import pesq

FACTOR = 3


def read(path):
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48000, 1, 2), path
        samples = numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)
    taps = numpy.arange(-96, 97)
    low_pass = numpy.sinc(taps / FACTOR * 0.95) * numpy.hanning(len(taps) + 2)[1:-1]
    return numpy.convolve(samples, low_pass / low_pass.sum(), "same")[::FACTOR]


def turned(original, heard):
    """The original from where `heard` begins in it: where the two correlate best."""
    whole = numpy.zeros(len(original))
    for at in range(0, len(heard), len(original)):
        part = heard[at : at + len(original)]
        whole[: len(part)] += part
    spectrum = numpy.fft.rfft(original) * numpy.conj(numpy.fft.rfft(whole))
    return numpy.roll(original, -int(numpy.argmax(numpy.fft.irfft(spectrum, len(original)))))


original = read(sys.argv[1])
for path in sys.argv[2:]:
    heard = read(path)
    spoken = numpy.resize(turned(original, heard), len(heard))
    print(pesq.pesq(16000, spoken.astype("int16"), heard.astype("int16"), "wb"))
