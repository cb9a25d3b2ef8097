import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import mmaction.registry as registry
import pytest

import bharnet_mm

ROOT = Path(__file__).resolve().parents[1]

# What configs of users name. A name may join this list; one that leaves it breaks their configs.
REGISTERED = {
    'DATASETS': {'BodyHandDataset'},
    'TRANSFORMS': {
        'CutRegions',
        'DropAxis',
        'DropFrames',
        'DropHands',
        'DropJoints',
        'FormatBodyHand',
        'FormatGrid',
        'FormatKeypoint',
        'InterpolateMissing',
        'KeepRaisedHands',
        'MakeFeature',
        'NormalizeSkeleton',
        'PackBodyHand',
        'RandomMirror',
        'RandomNoise',
        'RandomRotate',
        'RandomScale',
        'SampleWindow',
        'ScaleAxes',
        'SelectChannels',
        'SelectJoints',
        'SelectPersons',
    },
    'MODELS': {
        'AttendedBackbone',
        'BHaRNet',
        'BHaRNetHead',
        'BHaRNetM',
        'BodyGuidedRGB',
        'BodyHandBackbone',
        'BodyHandPreprocessor',
        'DeGCN',
        'ExpertBranch',
        'PoolingAttention',
        'RegionEncoder',
        'TimmBackbone',
    },
    'METRICS': {'BodyHandMetric'},
    'HOOKS': {
        'CheckpointGuardHook',
        'ConsistencyHook',
        'EpochSeedHook',
        'NonFiniteGuardHook',
        'PlainFormHook',
    },
    'OPTIM_WRAPPERS': {'BFloat16OptimWrapper'},
    'PARAM_SCHEDULERS': {'WarmUpLR', 'WarmedCosineLR'},
}

# What programs import. The same holds for these.
PUBLIC = {
    'bharnet_mm.datasets': {'BodyHandDataset', 'Clip', 'ClipStore', 'StoreWriter'},
    'bharnet_mm.engine': {'ConsistencyHook', 'EpochSeedHook', 'NonFiniteGuardHook'},
    'bharnet_mm.evaluation': {'BodyHandMetric', 'Scores', 'load_scores', 'save_scores'},
    'bharnet_mm.models': {
        'AttendedBackbone',
        'BHaRNet',
        'BHaRNetHead',
        'BHaRNetM',
        'BodyGuidedRGB',
        'BodyHandBackbone',
        'BodyHandPreprocessor',
        'DeGCN',
        'ExpertBranch',
        'Instances',
        'PoolingAttention',
        'RegionEncoder',
        'pack',
    },
}
# Command and program alike start from these; each takes the words of a command line.
COMMANDS = [
    *(
        f'bharnet_mm.experiments.{name}'
        for name in (
            *('benchmark', 'benchmark_data', 'benchmark_regions', 'browse', 'compare'),
            *('cross_validation', 'fuse', 'report', 'robustness', 'seeds', 'unseen'),
        )
    ),
]

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(bharnet_mm.__path__, prefix='bharnet_mm.')
)

# Split, so that this file does not hold what it looks for.
MACHINE = re.compile(
    r'(?<![\w.$}/~-])/(?:wo' + r'rk|ro' + r'ot|tm' + r'p|ho' + r'me|Us' + r'ers|mnt|scratch)/'
    r'|\b(?:10|172|192)\.\d+\.\d+\.\d+\b'
    r'|https?://[^/\s]+(?::\d+|\.internal|\.local|\.lan)\b'
    r'|https?://[^/\s]*(?:art' + r'ifactory|jf' + r'rog|nex' + r'us|dev' + r'pi)'
)


def tracked_files():
    listing = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip('not a git checkout')
    return [ROOT / name for name in listing.stdout.split('\0') if name and (ROOT / name).is_file()]


def text_of(path):
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        return ''


def test_walk_finds_the_package():
    folders = {path.parent for path in (ROOT / 'bharnet_mm').rglob('*.py')}
    without = [str(folder) for folder in folders if not (folder / '__init__.py').exists()]
    assert not without, 'folders that no import and no wheel would have'
    assert len(MODULES) > 50


@pytest.mark.parametrize('name', MODULES)
def test_import(name):
    module = importlib.import_module(name)
    missing = [n for n in getattr(module, '__all__', ()) if not hasattr(module, n)]
    assert not missing


@pytest.mark.parametrize('name', REGISTERED)
def test_registered_names(name):
    found = {key: getattr(registry, name).get(key) for key in REGISTERED[name]}
    assert all(part.__module__.startswith('bharnet_mm.') for part in found.values())


@pytest.mark.parametrize('name', PUBLIC)
def test_public_names(name):
    module = importlib.import_module(name)
    assert set(module.__all__) >= PUBLIC[name]
    assert all(hasattr(module, public) for public in PUBLIC[name])


@pytest.mark.parametrize('name', COMMANDS)
def test_commands_take_their_words(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(name).main(['--help'])
    assert stopped.value.code == 0 and 'usage:' in capsys.readouterr().out


def test_no_machine_in_tracked_files():
    found = [
        f'{path.relative_to(ROOT)}: {match.group()}'
        for path in tracked_files()
        for match in MACHINE.finditer(text_of(path))
    ]
    assert not found


@pytest.mark.parametrize(
    'text, machine',
    [
        ('store = "/ro' + 'ot/data/x"', True),
        ('see /wo' + 'rk/main', True),
        ('--index-url http://pkgs.int' + 'ernal/simple', True),
        ('http://192.168' + '.0.4', True),
        ('https://mirror' + ':8080/simple', True),
        ('data/work/clip', False),
        ('<repo>/../shared/data', False),
        ('https://github.com/open-mmlab/mmaction2', False),
        ('127.0.0.1', False),
    ],
)
def test_machine_pattern(text, machine):
    assert bool(MACHINE.search(text)) == machine


def test_no_binary_or_weight_is_tracked():
    suffixes = {'.pth', '.pt', '.onnx', '.npz', '.npy', '.pkl', '.pickle', '.mp4', '.avi', '.bin'}
    assert not [path for path in tracked_files() if path.suffix in suffixes]


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked_files()
        if path.suffix in ('.py', '.sh', '.md') and (lines := text_of(path).count('\n')) > 400
    }
    assert not long
