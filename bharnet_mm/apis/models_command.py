"""``bharnet models``: lists the models, or shows the card of one."""

from __future__ import annotations

import argparse

from .model_card import read_card
from .model_zoo import config_path, find_trained, list_models

DESCRIPTION = """Lists the models, or describes one.

  bharnet models
  bharnet models bharnet_light_asl10"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument('name', nargs='?', help='a model of the list, or a published file')


def run(args: argparse.Namespace) -> int:
    """Prints the list or the card."""
    if args.name is None:
        print('trained, for `bharnet predict --model NAME`:')
        print(''.join(f'  {name}\n' for name in list_models(True)))
        print('untrained, for `bharnet train` and create_model():')
        print('\n'.join(f'  {name}' for name in list_models(False)))
    elif args.name in list_models(False) and args.name not in list_models(True):
        print(config_path(args.name))
    else:
        print(read_card(find_trained(args.name)).describe())
    return 0
