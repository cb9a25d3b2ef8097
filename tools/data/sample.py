"""Makes the embedded, synthetic sample: a clip store whose experts have known ceilings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bharnet_mm.datasets.synthetic import body_ceiling, fused_ceiling, hand_ceiling, write_sample


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='folder of the new clip store')
    parser.add_argument('--seed', type=int, default=0, help='of everything random')
    parser.add_argument('--clips-per-class', type=int, default=40)
    args = parser.parse_args(argv)
    sample = write_sample(args.out, args.seed, args.clips_per_class)
    print(
        f'{args.out}: {len(sample)} synthetic clips of {len(sample.classes)} classes. Ceilings: '
        f'body {body_ceiling():.3f}, hand {hand_ceiling():.3f}, both {fused_ceiling():.3f}.'
    )


if __name__ == '__main__':
    main()
