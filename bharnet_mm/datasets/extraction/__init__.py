"""Finds bodies, hands and regions in videos; see docs/extraction.md.

``estimators`` is the interface to pose libraries, ``association`` assigns hands to arms,
``extract`` makes clips of one video, ``runner`` works through a folder.
"""
