"""MMAction2 / pyskl annotation pickles to a clip store, and back.

  python tools/data/pyskl.py ntu60_3danno.pkl data/ntu60
  python tools/data/pyskl.py --export data/ntu60 ntu60.pkl
  python tools/data/pyskl.py --export data/asl10 asl10.pkl --part unified

Pickles are read without running code: only numpy arrays and plain containers. 133 keypoints
(COCO-WholeBody, as rtmlib and MMPose give them) become a body and two hands.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bharnet_mm.apis.converter import add_name, converter_parser, finish, main, run
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import pyskl
from bharnet_mm.datasets.sources.keypoint_form import CHANNELS, form_of
from bharnet_mm.datasets.store import ClipStore
from bharnet_mm.errors import ConfigError
from bharnet_mm.io.outputs import output_file, output_folder


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion; returns the exit status."""
    parser = converter_parser(
        __doc__,
        'PKL',
        'annotation pickle (with --export: the clip store)',
        output_kind=Path,  # --export decides what it is, see below
    )
    parser.add_argument(
        '--export', action='store_true', help='write the clip store PKL as the pickle OUT'
    )
    parser.add_argument(
        '--part',
        choices=('body', 'unified'),
        default='body',
        help='what to export: the body, or body and both hands in one graph',
    )
    parser.add_argument(
        '--layout', help='layout of the keypoints, where their number does not say it'
    )
    parser.add_argument(
        '--channels',
        choices=CHANNELS,
        help='what the channels are, if the values do not tell; c is the confidence of a joint',
    )
    parser.add_argument('--classes', metavar='FILE', type=Path, help='class names, one a line')
    add_name(parser)
    args = parser.parse_args(argv)
    try:
        (output_file if args.export else output_folder)(str(args.out))
    except argparse.ArgumentTypeError as error:
        parser.error(f'argument OUT: {error}')
    return export(args) if args.export else import_(args)


def import_(args: argparse.Namespace) -> int:
    """Pickle to store."""
    report = Report('annotations')
    annotations, splits = pyskl.load_annotations(args.source)
    report.found = len(annotations)
    form = form_of(annotations, args.layout, args.channels)
    reader = pyskl.AnnotationReader(*form)
    pixels = form.unit == 'pixel'
    if form.unit == 'fraction':
        sizes = [a.get('img_shape', a.get('original_shape')) for a in annotations]
        pixels = all(size is not None and all(size) for size in sizes)
        report.notes.append('keypoints are fractions of the image')
    if form.channels.endswith('c'):
        report.notes.append('the last channel is taken as the confidence of the joint')
    # the annotations are in memory already, so other processes would not be faster
    args.workers = 1
    return run(
        args,
        annotations,
        reader,
        report,
        ids=pyskl.annotation_id,
        name=args.name or args.source.stem,
        body_layout='coco' if reader.whole else form.layout,
        hand_layout='hand' if reader.whole else None,
        body_channels=form.names,
        hand_channels=form.names,
        classes=pyskl.class_names(annotations, args.classes),
        splits=lambda store: pyskl.split_rules(splits, store.clip_ids.tolist(), report),
        pixels=pixels,
    )


def export(args: argparse.Namespace) -> int:
    """Store to pickle."""
    if args.out.exists() and not args.overwrite:
        raise ConfigError(
            str(args.out),
            found='something there already',
            expected='a new file',
            fix='give --overwrite to replace it, or another OUT',
        )
    report = Report('clips')
    pyskl.export_annotations(ClipStore(args.source), args.out, args.part, report)
    return finish(args, report)


if __name__ == '__main__':
    main(command)
