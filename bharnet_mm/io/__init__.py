"""Files and processes: safe reading, atomic writing and locks.

``weights`` loads checkpoints, ``atomic`` writes files, ``guard`` converts exceptions of a file's
content to errors of this package, ``cache`` is the user's cache folder.
"""
