"""Official protocols of the data sets: classes, splits and the meaning of file names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import SourceError
from ..io.text import read_text

Splits = dict[str, dict]

NTU60_TRAIN_SUBJECTS = (1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38)
NTU120_TRAIN_SUBJECTS = (
    *NTU60_TRAIN_SUBJECTS,
    *(45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96)),
    *(97, 98, 100, 103),
)


def _strings(values: Iterable[int]) -> list[str]:
    return [str(value) for value in values]


def _pair(name: str, train: dict, test: dict) -> Splits:
    return {f'{name}_train': train, f'{name}_test': test}


def leave_one_out(field: str, values: Iterable[str], prefix: str = '') -> Splits:
    """For each value of an index field, a split that tests on it and trains on all others.

    Args:
        field: A field of the index, such as ``subject``.
        values: Its values; the splits are named ``<prefix><value>_train`` and ``..._test``.
        prefix: Added before the names.
    """
    splits: Splits = {}
    for value in values:
        splits |= _pair(f'{prefix}{value}', {field: {'not_in': [value]}}, {field: [value]})
    return splits


def ntu60_splits() -> Splits:
    """Cross-subject (20 subjects train) and cross-view (cameras 2 and 3 train) of NTU RGB+D.

    Shahroudy et al., CVPR 2016.
    """
    train = _strings(NTU60_TRAIN_SUBJECTS)
    return {
        **_pair('xsub', {'subject': train}, {'subject': {'not_in': train}}),
        **_pair('xview', {'camera': ['2', '3']}, {'camera': ['1']}),
    }


def ntu120_splits() -> Splits:
    """Cross-subject (53 subjects train) and cross-setup (even setups train) of NTU RGB+D 120.

    Liu et al., TPAMI 2019.
    """
    train = _strings(NTU120_TRAIN_SUBJECTS)
    even, odd = _strings(range(2, 33, 2)), _strings(range(1, 33, 2))
    return {
        **_pair('xsub', {'subject': train}, {'subject': {'not_in': train}}),
        **_pair('xset', {'setup': even}, {'setup': odd}),
    }


def nucla_splits() -> Splits:
    """Northwestern-UCLA: ``xview`` tests on view 3 as usual, ``view1`` ... ``view3`` on each view.

    Wang et al., CVPR 2014.
    """
    views = leave_one_out('camera', ['1', '2', '3'], prefix='view')
    return {**_pair('xview', {'camera': ['1', '2']}, {'camera': ['3']}), **views}


def pku_mmd_splits(folder: str | Path) -> Splits:
    """Cross-subject and cross-view of PKU-MMD, from the data set's own ``Split`` folder.

    Clips carry the name of the sequence they were cut from, such as ``0002-L``, as their
    ``source``.

    Args:
        folder: The folder with ``cross-subject.txt`` and ``cross-view.txt``. In each the second
            line lists the training sequences and the fourth the test sequences, separated by
            commas.

    Raises:
        SourceError: A file is missing or does not have this form.
    """
    splits: Splits = {}
    for name, file in (('xsub', 'cross-subject.txt'), ('xview', 'cross-view.txt')):
        path = Path(folder) / file
        if not path.is_file():
            raise SourceError(
                f'{path}', 'no such file', "the data set's Split folder", 'name the folder Split'
            )
        lines = read_text(path, errors='replace').splitlines()
        lists = [re.findall(r'\w+-[LMR]\b', line) for line in lines]
        train, test = (lists[1], lists[3]) if len(lists) >= 4 else ([], [])
        if not train or not test or set(train) & set(test):
            raise SourceError(
                f'{path}',
                f'{len(train)} sequences in line 2 and {len(test)} in line 4, '
                f'{len(set(train) & set(test))} of them in both',
                'training sequences in line 2 and others for testing in line 4',
                'download the split files again',
            )
        splits |= _pair(name, {'source': train}, {'source': test})
    return splits


def ntu_fields(name: str) -> dict[str, str | int]:
    """The fields in an NTU RGB+D file name.

    Args:
        name: Starts like ``S001C002P003R002A013``; a folder before it and text after it are
            ignored.

    Returns:
        ``clip_id``, ``setup``, ``camera``, ``subject`` and ``repetition`` as plain numbers in
        strings (``'3'``), and ``label``, the action counted from 0.

    Raises:
        SourceError: Another name.
    """
    found = re.match(r'S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})(?!\d)', Path(name).name)
    if not found or found.group(5) == '000':
        raise SourceError(
            f'{name}',
            'a name that does not say setup, camera, subject, repetition and action',
            'a name like S001C002P003R002A013',
            'restore the original file name or remove the file',
        )
    numbers = [str(int(group)) for group in found.groups()]
    fields = dict(zip(('setup', 'camera', 'subject', 'repetition'), numbers[:4], strict=True))
    return {'clip_id': found.group(), **fields, 'label': int(numbers[4]) - 1}


def nucla_fields(name: str) -> dict[str, str | int]:
    """The fields in a Northwestern-UCLA file name.

    Args:
        name: Starts like ``a01_s01_e00_v01``; a folder before it and text after it are ignored.

    Returns:
        ``clip_id``, ``subject`` and ``camera`` as plain numbers in strings, and ``label``, from 0.

    Raises:
        SourceError: The name has another form, or the data set does not have the action.
    """
    found = re.match(r'a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)(?!\d)', Path(name).name)
    if not found or int(found.group(1)) not in NUCLA_ACTIONS:
        raise SourceError(
            f'{name}',
            'a name that does not say action, subject, trial and view',
            f'a name like a01_s01_e00_v01 with an action of {NUCLA_ACTIONS}',
            'restore the original file name or remove the file',
        )
    action, subject, _, view = (int(group) for group in found.groups())
    label = NUCLA_ACTIONS.index(action)
    fields = {'subject': str(subject), 'camera': str(view), 'label': label}
    return {'clip_id': found.group(), **fields}


# The numbers of actions in the file names.
NUCLA_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
NUCLA_CLASSES = (
    'pick up with one hand',
    'pick up with two hands',
    'drop trash',
    'walk around',
    'sit down',
    'stand up',
    'donning',
    'doffing',
    'throw',
    'carry',
)

# Actions A1 to A120 as the data set's own page names them; NTU RGB+D has the first 60.
NTU_CLASSES = (
    'drink water',
    'eat meal/snack',
    'brushing teeth',
    'brushing hair',
    'drop',
    'pickup',
    'throw',
    'sitting down',
    'standing up (from sitting position)',
    'clapping',
    'reading',
    'writing',
    'tear up paper',
    'wear jacket',
    'take off jacket',
    'wear a shoe',
    'take off a shoe',
    'wear on glasses',
    'take off glasses',
    'put on a hat/cap',
    'take off a hat/cap',
    'cheer up',
    'hand waving',
    'kicking something',
    'put something inside pocket / take out something from pocket',
    'hopping (one foot jumping)',
    'jump up',
    'make a phone call/answer phone',
    'playing with phone/tablet',
    'typing on a keyboard',
    'pointing to something with finger',
    'taking a selfie',
    'check time (from watch)',
    'rub two hands together',
    'nod head/bow',
    'shake head',
    'wipe face',
    'salute',
    'put the palms together',
    'cross hands in front (say stop)',
    'sneeze/cough',
    'staggering',
    'falling',
    'touch head (headache)',
    'touch chest (stomachache/heart pain)',
    'touch back (backache)',
    'touch neck (neckache)',
    'nausea or vomiting condition',
    'use a fan (with hand or paper)/feeling warm',
    'punching/slapping other person',
    'kicking other person',
    'pushing other person',
    'pat on back of other person',
    'point finger at the other person',
    'hugging other person',
    'giving something to other person',
    "touch other person's pocket",
    'handshaking',
    'walking towards each other',
    'walking apart from each other',
    'put on headphone',
    'take off headphone',
    'shoot at the basket',
    'bounce ball',
    'tennis bat swing',
    'juggling table tennis balls',
    'hush',
    'flick hair',
    'thumb up',
    'thumb down',
    'make ok sign',
    'make victory sign',
    'staple book',
    'counting money',
    'cutting nails',
    'cutting paper (using scissors)',
    'snapping fingers',
    'open bottle',
    'sniff (smell)',
    'squat down',
    'toss a coin',
    'fold paper',
    'ball up paper',
    'play magic cube',
    'apply cream on face',
    'apply cream on hand back',
    'put on bag',
    'take off bag',
    'put something into a bag',
    'take something out of a bag',
    'open a box',
    'move heavy objects',
    'shake fist',
    'throw up cap/hat',
    'hands up (both hands)',
    'cross arms',
    'arm circles',
    'arm swings',
    'running on the spot',
    'butt kicks (kick backward)',
    'cross toe touch',
    'side kick',
    'yawn',
    'stretch oneself',
    'blow nose',
    'hit other person with something',
    'wield knife towards other person',
    'knock over other person (hit with body)',
    "grab other person's stuff",
    'shoot at other person with a gun',
    'step on foot',
    'high-five',
    'cheers and drink',
    'carry something with other person',
    'take a photo of other person',
    'follow other person',
    "whisper in other person's ear",
    'exchange things with other person',
    "support somebody with one's hand (someone is sick, help him to walk)",
    'finger-guessing game (playing rock-paper-scissors)',
)


def _ntu_classes(actions: Iterable[int]) -> tuple[str, ...]:
    return tuple(NTU_CLASSES[action - 1] for action in actions)


# Provisional: the class lists of the NTU-Hand benchmarks are not public yet. These are our reading
# of "hand-centric": actions told apart by the fingers more than by the arms.
NTU_HAND_11 = _ntu_classes((10, 11, 12, 13, 28, 29, 30, 31, 33, 34, 39))
NTU_HAND_27 = NTU_HAND_11 + _ntu_classes(
    (67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 81, 82, 83, 84, 86, 120)
)
CLASS_GROUPS = {'ntu_hand_11': NTU_HAND_11, 'ntu_hand_27': NTU_HAND_27}
