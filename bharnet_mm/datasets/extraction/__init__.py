"""Bodies and hands out of videos; see docs/extraction.md.

``estimators`` is the interface to pose libraries, ``association`` decides which hand hangs on which
arm, ``extract`` makes clips of one video, ``runner`` works through a folder.
"""
