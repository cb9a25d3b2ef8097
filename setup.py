"""Package metadata. The version is in bharnet_mm/version.py, the requirements in requirements/."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Lines of requirements/NAME.txt without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


class BuildWithConfigs(build_py):
    """Puts the configs and the index of the models into a wheel, as ``bharnet_mm/.mim``.

    MMAction2 keeps its own there. A checkout, installed with ``-e``, uses ``configs/`` itself.
    """

    def run(self) -> None:
        """Builds the package, then copies the configs into it."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib) / 'bharnet_mm' / '.mim'
            shutil.rmtree(folder, ignore_errors=True)
            hidden = shutil.ignore_patterns('__pycache__', '.*')
            shutil.copytree(ROOT / 'configs', folder / 'configs', ignore=hidden)
            shutil.copy(ROOT / 'model-index.yml', folder)


extras = {
    name: requirements(name)
    for name in ('extract', 'export', 'pose', 'rgb', 'web', 'docs', 'tests')
}
extras['all'] = [line for lines in extras.values() for line in lines]

setup(
    name='bharnet_mm',
    version=re.search(r"__version__ = '(.+)'", (ROOT / 'bharnet_mm/version.py').read_text())[1],
    description='BHaRNet: body-hand action recognition from skeletons, as a plugin of MMAction2',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['bharnet_mm', 'bharnet_mm.*']),
    # Compiled on the user's machine, see bharnet_mm/ops/native
    package_data={
        'bharnet_mm.ops.native': ['*.h', '*.cpp'],
        'bharnet_mm': ['pretrained/*.safetensors', 'pretrained/*.md'],
    },
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': ['bharnet = bharnet_mm.cli:main']},
    install_requires=requirements('runtime'),
    extras_require=extras,
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
