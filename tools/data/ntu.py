"""NTU RGB+D 60 / 120: raw .skeleton files to a clip store.

  python tools/data/ntu.py nturgb+d_skeletons data/ntu120 \\
      --missing NTU_RGBD120_samples_with_missing_skeletons.txt

Clip ids are the names of the download (S001C001P001R001A001). Frame numbers are those of the RGB
video; frames without a body are kept as missing. There are no hands in these files: add them with
extract_hands.py --store.
"""

from collections.abc import Sequence

from bharnet_mm.apis.converter import converter_parser, main, run
from bharnet_mm.datasets import protocols
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import ntu


def all_splits() -> dict[str, dict]:
    """Those of NTU RGB+D 120, and with the prefix ``ntu60_`` those of its first 17 setups."""
    setups = [str(n) for n in range(1, 18)]
    first = {
        f'ntu60_{k}': {**rule, 'setup': setups} for k, rule in protocols.ntu60_splits().items()
    }
    return {**protocols.ntu120_splits(), **first}


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion; returns the exit status."""
    parser = converter_parser(
        __doc__, 'SKELETON_DIR', 'folder of .skeleton files (searched deeply)'
    )
    parser.add_argument(
        '--dataset',
        choices=('ntu60', 'ntu120'),
        default='ntu120',
        help='ntu60: 60 classes, setups 1 to 17; ntu120: everything (default)',
    )
    parser.add_argument(
        '--missing',
        metavar='FILE',
        action='append',
        default=[],
        help="the authors' list of samples with missing skeletons (302 in NTU 60, 535 in NTU 120); "
        'these are refused. Can be given more than once',
    )
    args = parser.parse_args(argv)
    report = Report('files')
    missing = set().union(*(ntu.read_missing_list(path) for path in args.missing))
    if missing:
        report.notes.append(f'{len(missing)} clip ids on the list of missing skeletons')
    else:
        report.notes.append('no list of missing skeletons: only what cannot be used was refused')
    small = args.dataset == 'ntu60'
    paths = ntu.list_skeleton_files(args.source, report, missing, max_setup=17 if small else 32)
    return run(
        args,
        paths,
        ntu.read_skeleton_file,
        report,
        ids=ntu.clip_id_of,
        name=args.dataset,
        body_layout='kinect_v2',
        hand_layout=None,
        classes=protocols.NTU_CLASSES[:60] if small else protocols.NTU_CLASSES,
        splits=protocols.ntu60_splits() if small else all_splits(),
        pixels=True,
    )


if __name__ == '__main__':
    main(command)
