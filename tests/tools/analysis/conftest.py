import sys
from pathlib import Path

# As Python does for a script: its folder comes first, so that the tools find each other.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / 'tools' / 'analysis'))
