"""PKU-MMD: long recordings and their labels to a clip store, one clip per labelled instance.

  python tools/data/pku_mmd.py PKU_Skeleton_Renew data/pku_mmd \\
      --labels Train_Label_PKU_final --splits Split

Clip ids are recording, class and first frame: 0002-L_A026_F00100. The splits are read from the
data set's own files (cross-subject.txt, cross-view.txt).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bharnet_mm.apis.converter import converter_parser, main, run
from bharnet_mm.datasets import protocols
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import pku_mmd


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion; returns the exit status."""
    parser = converter_parser(__doc__, 'SKELETON_DIR', 'folder of skeleton files, 0002-L.txt')
    parser.add_argument(
        '--labels',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder of label files, 0002-L.txt',
    )
    parser.add_argument(
        '--splits',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder of cross-subject.txt and cross-view.txt',
    )
    args = parser.parse_args(argv)
    report = Report('recordings')
    splits = protocols.pku_mmd_splits(args.splits)  # first, so that errors are found at once
    recordings = pku_mmd.list_recordings(args.source, args.labels, report)
    return run(
        args,
        recordings,
        pku_mmd.read_recording,
        report,
        prepare=pku_mmd.without_done,
        name='pku_mmd',
        body_layout='kinect_v2',
        hand_layout=None,
        classes=pku_mmd.PKU_MMD_CLASSES,
        splits=partial(pku_mmd.present_splits, splits, report),
    )


if __name__ == '__main__':
    main(command)
