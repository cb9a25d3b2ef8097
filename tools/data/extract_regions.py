"""Cuts the regions around the joints of a store's clips out of their videos, once before training.

  python tools/data/extract_regions.py nturgb+d_rgb data/ntu120 data/ntu120_regions
      then train with CutRegions(store='data/ntu120_regions') in the pipeline

Run it again to continue where it stopped. See docs/data.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bharnet_mm.apis.converter import add_timeout, add_workers, main
from bharnet_mm.datasets.extraction.regions import extract_regions
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.facts import StoreFacts
from bharnet_mm.io.arguments import decimal, integer
from bharnet_mm.io.outputs import output_folder


def parser() -> argparse.ArgumentParser:
    """The command line."""
    grid = RegionGrid()
    out = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument('videos', metavar='VIDEOS', type=Path, help='folder of videos')
    out.add_argument('store', metavar='STORE', type=Path, help='clip store of their bodies')
    out.add_argument(
        'out', metavar='OUT', type=output_folder, help='region store to write or continue'
    )
    shape = out.add_argument_group('grids', 'as CutRegions is configured for training')
    shape.add_argument(
        '--parts',
        nargs='+',
        help='of the layout, a row each (default: those inside the image)',
    )
    shape.add_argument('--num-frames', type=integer(1), default=grid.num_frames, help='columns (5)')
    shape.add_argument('--cell', type=integer(1), default=grid.cell, help='pixels of a cell (48)')
    shape.add_argument(
        '--size',
        type=decimal(above=0),
        default=grid.size,
        help='side of a region in forearm lengths (1.5)',
    )
    shape.add_argument(
        '--max-persons', type=integer(1, 2), default=grid.max_persons, help='1 or 2 (2)'
    )
    shape.add_argument(
        '--num-offsets', type=integer(1), default=grid.num_offsets, help='choices of frames (3)'
    )
    shape.add_argument(
        '--motion',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='also how much each cell differs in the next frame (yes)',
    )
    out.add_argument('--quality', type=integer(1, 100), default=90, help='of the JPEG files (90)')
    add_workers(out)
    add_timeout(out)
    out.add_argument(
        '--strict', action='store_true', help='exit non-zero where any clip was refused'
    )
    return out


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the extraction; returns the exit status."""
    args = parser().parse_args(argv)
    grid = RegionGrid(
        tuple(args.parts or StoreFacts(args.store).region_parts),
        args.num_frames,
        args.cell,
        args.size,
        args.max_persons,
        args.num_offsets,
        args.motion,
    )
    report = extract_regions(
        args.videos,
        args.store,
        args.out,
        grid,
        quality=args.quality,
        workers=args.workers,
        timeout=args.timeout,
    )
    print(report)
    failed = not (report.kept or report.skipped)
    return 1 if failed or (args.strict and report.num_refused) else 0


if __name__ == '__main__':
    main(command)
