"""Videos as people have them: cut without encoding anew, of a variable frame rate, damaged."""

from fractions import Fraction


def encode(path, frames, times=None):
    """H.264 with one key frame at the beginning, at given times (in 25ths of a second)."""
    import av

    with av.open(str(path), 'w') as out:
        stream = out.add_stream('libx264', rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = 'yuv420p'
        stream.options = {'g': '250', 'keyint_min': '250', 'sc_threshold': '0'}
        stream.codec_context.time_base = Fraction(1, 25)
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
            picture.pts = i if times is None else times[i]
            picture.time_base = Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())


def trim(source, target, start, stop=10**9):
    """As ``ffmpeg -ss START -i SOURCE -c copy TARGET``: an edit list hides what comes before the
    start.
    """
    import av

    with av.open(str(source)) as have, av.open(str(target), 'w') as out:
        stream = have.streams.video[0]
        copy = out.add_stream_from_template(stream)
        shift = int(start / stream.time_base / 25)
        for packet in have.demux(stream):
            if packet.size and packet.dts * stream.time_base * 25 < stop:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                out.mux(packet)


def damage(source, target, first=0.5, length=200):
    content = bytearray(source.read_bytes())
    place = int(len(content) * first)
    content[place : place + length] = bytes(length)
    target.write_bytes(content)
