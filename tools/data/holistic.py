"""MediaPipe Holistic vectors to a clip store: an .npz, or a folder <label>/<clip>/<frame>.npy.

  python tools/data/holistic.py asl10.npz data/asl10
  python tools/data/holistic.py MP_Data data/signs
  python tools/data/holistic.py MP_Data data/signs --subject-from '/(\\w+)_'

A vector holds pose 33 x (x, y, z, perhaps visibility), perhaps the face, left hand and right hand
21 x (x, y, z): 225, 258, 1629, 1659, 1662 or 1692 numbers. If subjects are known, the store gets
the splits <subject>_train and <subject>_test: train on all others, test on this one.
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
from bharnet_mm.datasets.sources import holistic
from bharnet_mm.errors import SourceError


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion; returns the exit status."""
    parser = converter_parser(__doc__, 'NPZ_OR_TREE', '.npz file, or folder of label folders')
    add_recording_facts(
        parser,
        'which the vectors do not say: x is a fraction of the width and y of the height, so that '
        'without it lengths and angles are distorted',
    )
    parser.add_argument(
        '--order',
        choices=holistic.ORDERS,
        default='',
        help='how the parts of vectors of 1629 numbers follow one another, where the noses do not '
        'say it',
    )
    args = parser.parse_args(argv)
    check_subject_pattern(args.subject_from)
    report = Report('clips')
    if not args.source.exists():
        raise SourceError(
            str(args.source), 'nothing there', 'an .npz or a folder', 'correct the path'
        )
    if args.source.is_dir():
        items, classes = holistic.list_tree(args.source, report, args.subject_from)
    else:
        items, classes = holistic.list_npz(args.source, report, args.subject_from)
        args.workers = 1  # the data is in memory, so other processes would not be faster
    items = [replace(i, image_size=args.image_size, order=args.order) for i in items]
    return run(
        args,
        items,
        holistic.read_clip,
        report,
        ids=str,
        name=args.name or args.source.stem,
        body_layout='mediapipe_pose',
        hand_layout='hand',
        classes=classes,
        splits=splits_by_subject(holistic.subjects_of(items), report),
    )


if __name__ == '__main__':
    main(command)
