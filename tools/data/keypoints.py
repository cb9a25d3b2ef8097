"""Keypoint files of pose estimators to a clip store: a folder <label>/<clip>.

  python tools/data/keypoints.py RECORDINGS data/signs --image-size 640x480

A clip is a folder of OpenPose's JSON files (BODY_25 or COCO 18, hands), a .pose file (pose-format;
pip install 'bharnet_mm[pose]') or a .json of MediaPipe Tasks. One store holds clips of one kind.
"""

from collections.abc import Sequence
from dataclasses import replace

from bharnet_mm.apis.converter import (
    add_recording_facts,
    check_subject_pattern,
    converter_parser,
    main,
    run,
    splits_by_subject,
)
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources.keypoint_files import list_clips, read_clip, read_recording
from bharnet_mm.errors import BHaRNetError, SourceError


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion; returns the exit status."""
    parser = converter_parser(__doc__, 'FOLDER', 'folder of label folders')
    add_recording_facts(parser, 'where the files do not say it')
    args = parser.parse_args(argv)
    check_subject_pattern(args.subject_from)
    if not args.source.is_dir():
        raise SourceError(str(args.source), 'no folder', 'a folder of labels', 'correct the path')
    report = Report('clips')
    items, classes = list_clips(args.source, report, args.subject_from, args.image_size)
    first = _first(items)
    pixels = all(first.image_size)
    like = (first.layout, first.channels, first.unit, pixels)
    if not pixels:
        report.notes.append('no pixel positions, as the size of the images is not known')
    subjects = sorted({item.subject for item in items if item.subject})
    return run(
        args,
        [replace(item, like=like) for item in items],
        read_clip,
        report,
        ids=str,
        name=args.name or args.source.name,
        body_layout=first.layout,
        hand_layout='hand',
        body_channels=first.channels,
        hand_channels=first.channels,
        classes=classes,
        splits=splits_by_subject(subjects, report),
        pixels=pixels,
    )


def _first(items):
    """The first clip that can be read, which decides the layout of the store."""
    problem = None
    for item in items:
        try:
            return read_recording(item)
        except BHaRNetError as error:
            problem = problem or error
    raise problem


if __name__ == '__main__':
    main(command)
