"""Makes the embedded, synthetic sample: a clip store whose experts have known ceilings, and its
videos.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bharnet_mm.apis.converter import add_workers
from bharnet_mm.datasets.synthetic.ceilings import body_ceiling, fused_ceiling, hand_ceiling
from bharnet_mm.datasets.synthetic.sample import write_sample
from bharnet_mm.datasets.synthetic.videos import write_videos
from bharnet_mm.io.arguments import integer, seed_number
from bharnet_mm.io.command import run_command
from bharnet_mm.io.outputs import output_folder


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=output_folder, help='folder of the new clip store')
    parser.add_argument('--videos', metavar='DIR', help='render the clips to video files there')
    parser.add_argument('--seed', type=seed_number, default=0, help='of everything random')
    parser.add_argument('--clips-per-class', type=integer(1), default=32)
    add_workers(parser)
    args = parser.parse_args(argv)
    sample = write_sample(args.out, args.seed, args.clips_per_class)
    if args.videos:
        write_videos(args.videos, sample, args.workers)
    print(
        f'{args.out}: {len(sample)} synthetic clips of {len(sample.classes)} classes. Ceilings: '
        f'body {body_ceiling():.3f}, hand {hand_ceiling():.3f}, both {fused_ceiling():.3f}, '
        f'with rgb {fused_ceiling(rgb=True):.3f}.'
    )


if __name__ == '__main__':
    run_command(main)
