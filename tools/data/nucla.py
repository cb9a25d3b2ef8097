"""Northwestern-UCLA: the JSON form (folder, .zip or .tgz) or the original text files to a clip
store.

  python tools/data/nucla.py all_sqe.tgz data/nucla
  python tools/data/nucla.py multiview_action data/nucla

Clip ids are those of the JSON form: a01_s01_e00_v01.
"""

from collections.abc import Sequence
from functools import partial

from bharnet_mm.apis.converter import converter_parser, main, run
from bharnet_mm.datasets import protocols
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import nucla


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion; returns the exit status."""
    parser = converter_parser(
        __doc__,
        'JSON_DIR_OR_TGZ',
        'folder or archive of JSON files, or the folder that holds view_1, view_2, view_3',
    )
    args = parser.parse_args(argv)
    report = Report('clips')
    clips, form = nucla.list_nucla(args.source, report)
    return run(
        args,
        clips,
        nucla.read_json if form == 'json' else nucla.read_text,
        report,
        ids=lambda item: item[0],
        prepare=partial(nucla.open_json, args.source) if form == 'json' else None,
        name='nucla',
        body_layout='kinect_v1',
        hand_layout=None,
        classes=protocols.NUCLA_CLASSES,
        splits=protocols.nucla_splits(),
    )


if __name__ == '__main__':
    main(command)
