"""Checks of the content of clips. Each yields findings, or none if all is well."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .diagnosis import Finding
from .facts import ABSURD, FAR
from .survey import Survey, share_text

#: A clip is frozen if at least this share of its frames repeats the frame before.
FROZEN_SHARE, FROZEN_PAIRS = 0.5, 8
#: Share of frames without a hand from which there is a warning.
FEW_HANDS = 0.5
#: A class with hands in a smaller share of its frames can be recognized by missing hands.
HANDLESS = 0.05
#: Largest difference in missing hands between the splits of one protocol.
UNEVEN_HANDS = 0.2
#: Clips with fewer frames hardly show an action.
SHORT = 8
_CONVERT = 'convert the data again, or restore it from a copy'


def check_integrity(survey: Survey) -> Iterator[Finding]:
    """Checksums, and clips that cannot be read at all."""
    facts = survey.facts
    if facts['damaged'].any():
        message = 'clips whose data does not agree with its checksum'
        yield survey.finding('integrity', 'error', message, _CONVERT, facts['damaged'])
    for reason, numbers in survey.unread.items():
        message = f'clips that cannot be read: {reason}'
        yield survey.finding('integrity', 'error', message, _CONVERT, numbers)
    if facts['bad_score'].any():
        message = 'clips with scores outside [0, 1] or not a number'
        fix = 'divide scores by the largest possible one; 0 means missing'
        yield survey.finding('integrity', 'error', message, fix, facts['bad_score'])
    if facts['bad_order'].any():
        message = 'clips whose frame numbers do not rise'
        fix = 'sort the frames, and drop those that are there twice'
        yield survey.finding('integrity', 'error', message, fix, facts['bad_order'])


def check_repairs(survey: Survey) -> Iterator[Finding]:
    """Faults of an annotation pickle that our reader repairs and MMAction2 does not."""
    for repair, numbers in survey.collection.repairs.items():
        if 'not finite' in repair:
            continue  # counted by check_finite
        severity, fix = 'warning', 'save float32 values, and scores in [0, 1]'
        if 'integer' in repair:
            severity, fix = 'error', 'save float32: MMAction2 makes every integer coordinate 0'
        message = f'in our reader, {repair}'
        yield survey.finding('repairs', severity, message, fix, sorted(numbers))


def check_labels(survey: Survey) -> Iterator[Finding]:
    """Labels outside the classes, classes without clips, classes of very uneven size."""
    bad = ~survey.in_classes & survey.read
    num = len(survey.collection.classes)
    if bad.any():
        found = np.unique(survey.collection.labels[bad])[:8].tolist()
        fix = f'number the classes from 0 to {num - 1}, or name all classes'
        yield survey.finding('labels', 'error', f'labels outside the classes: {found}', fix, bad)
    counts = survey.class_counts()
    empty = np.flatnonzero(counts == 0)
    if len(empty) == num:
        fix = 'convert some clips; the report of the converter says why none came out'
        yield Finding('labels', 'error', 'no clip of any class', fix)
    elif len(empty):
        message = f'classes without a clip: {_ranges(empty)}'
        fix = 'convert the missing clips, or leave these classes out'
        if empty[0] == 0 and counts[-1]:
            fix += '; if labels count from 1, subtract 1'
        yield survey.classes_finding('labels', 'warning', message, fix, empty)
    full = counts[counts > 0]
    if len(full) > 1 and full.max() > 10 * full.min():
        small = np.flatnonzero((counts > 0) & (counts * 10 < full.max()))
        message = f'classes with less than a tenth of the {full.max()} clips of the largest'
        fix = 'look at the accuracy of each class besides the mean'
        yield survey.classes_finding('labels', 'note', message, fix, small)


def check_finite(survey: Survey) -> Iterator[Finding]:
    """NaN and infinity, which would spoil the statistics of batch normalisation."""
    for part in ('body', 'hand'):
        frames = survey.facts[f'{part}_nonfinite']
        if frames.any():
            message = f'NaN or infinity in {frames.sum()} frames of a {part}'
            fix = "set the score of such frames to 0, or train with nonfinite='mask'"
            yield survey.finding('finite', 'error', message, fix, frames > 0)


def check_coordinates(survey: Survey) -> Iterator[Finding]:
    """Joints far from all others, outside the image, or at the origin."""
    for part in ('body', 'hand'):
        facts, usual = survey.facts, getattr(survey.reference, part)

        def of(name: str, part: str = part) -> tuple[np.ndarray, int]:
            values = survey.facts[f'{part}_{name}']
            return values > 0, int(values.sum())

        absurd, frames = of('absurd')
        if frames:
            message = (
                f'{frames} frames of a {part} with a joint over {ABSURD * usual.scale:.4g} away '
                f'from the middle of the data, {ABSURD:.0f} times the usual'
            )
            fix = 'mark these frames missing, or bring all clips to one unit'
            yield survey.finding('coordinates', 'error', message, fix, absurd)
        far, frames = of('far')
        if frames:
            message = (
                f'{frames} frames of a {part} with a joint over {FAR * usual.scale:.4g} away from '
                f'the middle of the data, {FAR:.0f} times the usual'
            )
            fix = 'look at them; noisy detections are better missing'
            yield survey.finding('coordinates', 'warning', message, fix, far & ~absurd)
        outside, frames = of('outside')
        if frames:
            low, high = usual.outside
            message = (
                f'{frames} frames of a {part} in picture fractions outside [{low:g}, {high:g}]'
            )
            fix = 'look at them; a part far outside the picture is a guess, better missing'
            yield survey.finding('coordinates', 'warning', message, fix, outside & ~absurd & ~far)
        blank, frames = of('blank')
        if frames:
            message = f'{frames} frames of a {part} all zeros, yet visible'
            fix = 'set their score to 0: zeros are how many tools write a missing one'
            yield survey.finding('coordinates', 'error', message, fix, blank)
        origin, frames = of('origin')
        if frames:
            message = f'{frames} visible frames of a {part} with several joints at the origin'
            fix = 'set their score to 0 if zero means missing'
            yield survey.finding(
                'coordinates', 'warning', message, fix, facts[f'{part}_origin'] > 0
            )


def check_joints(survey: Survey) -> Iterator[Finding]:
    """Single missing joints of visible bodies and hands."""
    joints = survey.facts['joints']
    if not joints.any():
        return
    message = f'{joints.sum():,} joints missing by themselves, in bodies and hands that are seen'
    fix = (
        'they are filled from the frames that show them; see whether an estimator lost them, and '
        'perhaps give their visibility to the network (FormatBodyHand(visibility=True))'
    )
    severity = 'note'
    if survey.collection.kind != 'clip store':
        severity, fix = 'warning', 'convert to a store: MMAction2 takes their zeros for positions'
    yield survey.finding('joints', severity, message, fix, joints > 0)


def check_square(survey: Survey) -> Iterator[Finding]:
    """Image fractions without the size of the image."""
    reference = survey.reference
    fractions = reference.body.outside is not None or reference.plane == 'fraction'
    unsized = survey.read & survey.facts['unsized']
    if fractions and unsized.any():
        message = (
            'clips in fractions of a picture of unknown size: width and height are taken as equal, '
            'which distorts lengths and angles unless the picture is square'
        )
        fix = 'convert again with the size of the images, such as --image-size 640x480'
        yield survey.finding('square', 'note', message, fix, unsized)


def check_frozen(survey: Survey) -> Iterator[Finding]:
    """Consecutive frames that are equal bit by bit."""
    for part in ('body', 'hand'):
        enough = survey.facts[f'{part}_pairs'] >= FROZEN_PAIRS
        frozen = enough & (survey.share(f'{part}_frozen', f'{part}_pairs') >= FROZEN_SHARE)
        if frozen.any():
            message = (
                f'clips with at least {FROZEN_SHARE:.0%} of the {part} frames as the one before'
            )
            fix = 'look for a stuck tracker, repeated video frames or filled gaps'
            yield survey.finding('frozen', 'warning', message, fix, frozen)


def check_length(survey: Survey) -> Iterator[Finding]:
    """Clips too short to show a motion."""
    frames, read = survey.facts['frames'], survey.read
    single = read & (frames == 1)
    if single.any():
        fix = 'convert them again, or exclude them from training'
        yield survey.finding('length', 'warning', 'clips of a single frame', fix, single)
    short = read & (frames > 1) & (frames < SHORT)
    if short.any():
        fix = 'usable, but look whether they were cut off'
        yield survey.finding('length', 'note', f'clips of 2 to {SHORT - 1} frames', fix, short)


def check_missing(survey: Survey) -> Iterator[Finding]:
    """Frames, clips and classes without a person."""
    facts, read = survey.facts, survey.read
    shown = facts['visible'] + facts['hands']
    nothing = read & (shown == 0)
    if nothing.any():
        fix = 'remove them: there is nothing to learn from, but they have a label'
        message = 'clips in which neither a body nor a hand is ever visible'
        yield survey.finding('missing', 'error', message, fix, nothing)
    bodiless = read & ~nothing & (facts['visible'] == 0)
    if bodiless.any():
        message = 'clips in which hands are visible but never a body'
        fix = 'check the pose estimation of these clips'
        yield survey.finding('missing', 'warning', message, fix, bodiless)
    rate = survey.missing('visible')
    if rate:
        message = f'frames with nobody visible: {share_text(rate)}'
        severity = 'warning' if rate > 0.2 else 'note'
        fix = 'usual for a few; many point to a failed extraction'
        some = read & (facts['visible'] < facts['frames'])
        yield survey.finding('missing', severity, message, fix, some)


def check_hands(survey: Survey) -> Iterator[Finding]:
    """Absent hands, by clip, class and split."""
    if not survey.has_hands or not survey.read.any():
        return
    facts = survey.facts
    rates = {field: survey.missing(field) for field in ('left', 'right', 'hands')}
    never = survey.read & (facts['hands'] == 0)
    if not facts['hands'].any():
        fix = 'extract the hands again, or make a store without hands'
        yield survey.finding('hands', 'error', 'no hand is visible in any clip', fix, never)
        return
    if rates['hands'] or rates['left'] or rates['right']:
        shares = ', '.join(f'{key} {share_text(rates[key])}' for key in ('left', 'right'))
        message = f'frames without a hand: {shares}, both {share_text(rates["hands"])}'
        severity = 'warning' if rates['hands'] > FEW_HANDS else 'note'
        fix = 'the models mask what is missing; if most is, extract with wrist crops'
        if survey.collection.extracted:  # extraction looks at the wrists already
            fix = (
                'the models mask what is missing; crops at the wrists were searched already: look '
                'whether hands are in the picture, in focus and large enough'
            )
        some = survey.read & (facts['hands'] < facts['frames'])
        yield survey.finding('hands', severity, message, fix, some)
    if never.any():
        fix = 'their label rests on the body alone'
        yield survey.finding('hands', 'note', 'clips without any hand', fix, never)
    frames, hands = survey.class_sums('frames'), survey.class_sums('hands')
    handless = np.flatnonzero((frames > 0) & (hands < HANDLESS * frames))
    if len(handless):
        message = f'classes that show a hand in less than {HANDLESS:.0%} of their frames'
        fix = 'the absence alone tells these classes; be sure that it is real'
        yield survey.classes_finding('hands', 'warning', message, fix, handless)
    for name, (train, test) in survey.pairs():
        one, two = survey.missing('hands', train), survey.missing('hands', test)
        if one is not None and two is not None and abs(one - two) > UNEVEN_HANDS:
            message = (
                f'protocol {name}: {share_text(one)} of the training frames are without a hand, '
                f'but {share_text(two)} of the test frames'
            )
            fix = 'extract the hands of both in the same way, or expect a gap'
            yield Finding('hands', 'warning', message, fix)


def check_sides(survey: Survey) -> Iterator[Finding]:
    """Left hands at right wrists, and the reverse, if hands and body have the same coordinates."""
    facts = survey.facts
    total, crossed = int(facts['wrists'].sum()), int(facts['crossed'].sum())
    if not total:
        return
    if crossed > 0.5 * total:
        message = f'{crossed / total:.1%} of the hands lie at the wrist of the other side'
        fix = 'exchange left and right hands (mirrored pictures exchange them)'
        wrong = survey.share('crossed', 'wrists') > 0.5
        yield survey.finding('sides', 'error', message, fix, wrong)
        return
    wrong = (facts['wrists'] >= 5) & (survey.share('crossed', 'wrists') > 0.5)
    if wrong.any():
        message = (
            'clips in which most hands lie at the wrist of the other side '
            f'(in the whole data {crossed / total:.1%} of the hands)'
        )
        fix = 'assign hands to sides by the wrists of the body'
        yield survey.finding('sides', 'warning', message, fix, wrong)


def check_wrists(survey: Survey) -> Iterator[Finding]:
    """Hands away from the skeleton's wrists, because a depth sensor lost the arm or the hand is
    another person's.
    """
    facts = survey.facts
    total, elsewhere = int(facts['placed'].sum()), int(facts['elsewhere'].sum())
    if not elsewhere:
        return
    message = (
        f'in {elsewhere / total:.1%} of the frames with a hand, one lies away from the wrist of '
        'its skeleton: picture and skeleton disagree'
    )
    fix = 'look at some clips; the hands are those that the picture shows'
    yield survey.finding('wrists', 'note', message, fix, facts['elsewhere'] > 0)


def _ranges(numbers: np.ndarray, shown: int = 8) -> str:
    """Whole numbers as ranges: ``0, 3-5``."""
    groups = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    texts = [f'{g[0]}' if len(g) == 1 else f'{g[0]}-{g[-1]}' for g in groups]
    return ', '.join(texts[:shown]) + (', ...' if len(texts) > shown else '')
