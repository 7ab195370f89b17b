"""Prints the wideband PESQ score (ITU-T P.862.2, MOS-LQO) of each WAV file after the first one.

The first one is the original, which repeats in the others. All are mono, 16 bits, 48 kHz.
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


original = read(sys.argv[1])
for path in sys.argv[2:]:
    heard = read(path)
    spoken = numpy.resize(original, len(heard))
    print(pesq.pesq(16000, spoken.astype("int16"), heard.astype("int16"), "wb"))
