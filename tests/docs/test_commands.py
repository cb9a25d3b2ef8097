"""The commands in README and docs: each is one that its tool takes; `make long` runs those marked
``<!-- run -->``.

The mark stands on a line of its own before a ```bash block. The marked blocks of a page run one
after the other in one copy of the project.
"""

import argparse
import re
import runpy
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from command import ROOT, run

from bharnet_mm import cli
from bharnet_mm.engine.arguments import parse_options
from bharnet_mm.engine.config_file import load_config
from bharnet_mm.errors import ConfigError

PAGES = [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').rglob('*.md'))]
BLOCK = re.compile(r'^(<!-- run -->\s*\n)?^```bash\n(.*?)^```', re.MULTILINE | re.DOTALL)
#: Shell tool → the Python tool it starts, and which of its words that one gets first.
LAUNCHERS = {
    'tools/dist_train.sh': ('tools/train.py', [0], 2),
    'tools/dist_test.sh': ('tools/test.py', [0, 1], 3),
    'tools/slurm_train.sh': ('tools/train.py', [2], 3),
    'tools/slurm_test.sh': ('tools/test.py', [2, 3], 4),
}


@dataclass(frozen=True)
class Block:
    page: Path
    text: str
    marked: bool

    def commands(self) -> list[list[str]]:
        """The block's commands in words, without comments, variables set before them and pipes."""
        found = []
        for line in self.text.replace('\\\n', ' ').splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = []
            for word in [*lexer, ';']:
                if word in ('&&', '||', ';', '|', '&'):
                    while words and re.fullmatch(r'\w+=.*', words[0]):
                        words.pop(0)
                    if words:
                        found.append(words)
                    words = []
                else:
                    words.append(word)
        return found


def blocks_of(page: Path, text: str) -> list[Block]:
    return [Block(page, text, bool(mark)) for mark, text in BLOCK.findall(text)]


class Parsed(BaseException):  # not one of the errors that our tools show
    """A tool has read its command line."""


def parse(script: str, words: list[str], monkeypatch) -> argparse.Namespace:
    """What a tool's own parser makes of the words; the tool goes no further."""
    original = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        raise Parsed(original(parser, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    monkeypatch.setattr('sys.argv', [script, *words])
    if script != 'bharnet':
        monkeypatch.syspath_prepend(str((ROOT / script).parent))  # as Python does for a script
    with pytest.raises(Parsed) as caught:
        if script == 'bharnet':
            cli.main()
        else:
            runpy.run_path(str(ROOT / script), run_name='__main__')
    return caught.value.args[0]


def check_options(namespace: argparse.Namespace) -> None:
    """Overrides of a shipped config are of values that it reads."""
    if not getattr(namespace, 'cfg_options', None) or not (ROOT / namespace.config).is_file():
        return
    options = namespace.cfg_options
    options = options if isinstance(options, dict) else parse_options(options)
    load_config(ROOT / namespace.config, options)


def check(words: list[str], monkeypatch) -> None:
    """Fails for a command of ours that cannot work as written; others' commands pass."""
    program, *rest = words
    for word in words:
        if re.fullmatch(r'(configs|tools)/[\w/.-]+', word):
            assert (ROOT / word).exists(), f'there is no {word}'
    if program == 'bash' or program.startswith('./'):
        script = rest.pop(0) if program == 'bash' else program.removeprefix('./')
        if script in LAUNCHERS:
            tool, handed_on, count = LAUNCHERS[script]
            assert len(rest) >= count, f'{script} wants {count} words'
            program, rest = 'python', [tool, *(rest[i] for i in handed_on), *rest[count:]]
    if program == 'make':
        targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
        assert set(rest) <= set(targets), f'targets of the Makefile: {targets}'
    elif program == 'pip':
        for name in re.findall(r'(?:-c|-r) (\S+)', ' '.join(rest)):
            assert (ROOT / name).exists(), f'there is no {name}'
        known = {file.stem for file in (ROOT / 'requirements').glob('*.txt')} | {'all'}
        extras = ','.join(re.findall(r'\.\[([\w,]+)\]', ' '.join(rest)))
        assert set(filter(None, extras.split(','))) <= known
    elif program == 'bharnet':
        if '--help' not in rest:
            check_options(parse('bharnet', rest, monkeypatch))
    elif program == 'python' and rest[0].startswith('tools/'):
        if '--help' not in rest:
            check_options(parse(rest[0], rest[1:], monkeypatch))


BLOCKS = [block for page in PAGES for block in blocks_of(page, page.read_text(encoding='utf-8'))]
COMMANDS = [(block.page.name, words) for block in BLOCKS for words in block.commands()]


@pytest.mark.parametrize(
    'words',
    [c[1] for c in COMMANDS],
    ids=[f'{page}: {shlex.join(words)}' for page, words in COMMANDS],
)
def test_command_is_accepted(words, monkeypatch):
    check(words, monkeypatch)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_named_configs_and_tools_exist(page):
    for name in re.findall(r'`((?:configs|tools)/[\w/.*-]+)', page.read_text(encoding='utf-8')):
        assert list(ROOT.glob(name)), f'{page.name} names {name}'


def copy_of_project(folder: Path) -> Path:
    """A copy whose synthetic sample has few clips, so that its trainings take a minute."""
    for name in ('bharnet_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    sample = folder / 'tools/data/sample.py'
    text = sample.read_text(encoding='utf-8')
    assert text.count('default=32)') == 1
    sample.write_text(text.replace('default=32)', 'default=4)'), encoding='utf-8')
    return folder


def run_marked(blocks: list[Block], folder: Path) -> list[str]:
    copy = copy_of_project(folder)
    marked = [block for block in blocks if block.marked]
    return [run('bash', '-euo', 'pipefail', '-c', block.text, cwd=copy) for block in marked]


@pytest.mark.long
@pytest.mark.parametrize(
    'page', sorted({block.page for block in BLOCKS if block.marked}), ids=lambda page: page.name
)
def test_marked_commands_run(tmp_path, page):
    run_marked([block for block in BLOCKS if block.page == page], tmp_path / page.stem)


# ---- the check itself
SAMPLE = """
<!-- run -->
```bash
python tools/data/sample.py \\
    data/sample --clips-per-class 1  # 16 clips
ls data/sample && GPUS=2 echo done | cat
```

```bash
python tools/nowhere.py
```

```python
not a command
```
"""


def test_blocks_are_found_and_run(tmp_path):
    blocks = blocks_of(Path('page.md'), SAMPLE)
    assert [block.marked for block in blocks] == [True, False]
    assert blocks[0].commands() == [
        ['python', 'tools/data/sample.py', 'data/sample', '--clips-per-class', '1'],
        ['ls', 'data/sample'],
        ['echo', 'done'],
        ['cat'],
    ]
    (printed,) = run_marked(blocks, tmp_path / 'copy')
    assert '16 synthetic clips' in printed and 'store.json' in printed and 'done' in printed
    assert (tmp_path / 'copy/data/sample/store.json').exists()


@pytest.mark.parametrize(
    'command',
    [
        'python tools/nowhere.py',
        'python tools/train.py configs/nothing.py',
        'python tools/train.py configs/bharnet_p_sample.py --resmue',
        'python tools/train.py configs/bharnet_p_sample.py --launcher carrier_pigeon',
        'python tools/train.py',
        'python tools/train.py configs/bharnet_p_sample.py '
        '--cfg-options model.backbone.feture=bone',
        'bash tools/dist_train.sh configs/bharnet_p_sample.py 2 --ampp',
        'bash tools/dist_test.sh configs/bharnet_p_sample.py 2',
        'make tset',
        'pip install -c requirements/nothing.txt -e .',
    ],
)
def test_wrong_command_is_noticed(command, monkeypatch):
    with pytest.raises((AssertionError, SystemExit, ConfigError)):
        check(shlex.split(command), monkeypatch)


@pytest.mark.parametrize(
    'command',
    [
        'python tools/train.py configs/bharnet_p_sample.py --resume --amp --work-dir out --seed 3',
        'python tools/test.py CONFIG CHECKPOINT --dump scores.npz',
        'python tools/train.py configs/bharnet_p_sample.py '
        '--cfg-options model.backbone.feature=bone',
        'bash tools/dist_train.sh configs/bharnet_e_ntu60.py 8 --amp',
        'tools/slurm_test.sh partition name configs/bharnet_e_ntu60.py checkpoint.pth',
        'make test',
        'pip install -c requirements/constraints.txt -e .[tests]',
        'unzip archive.zip -d raw',
    ],
)
def test_right_command_passes(command, monkeypatch):
    check(shlex.split(command), monkeypatch)
