"""Files and processes: safe reading, whole writing, locks. Imports nothing of ours but errors.

``weights`` loads checkpoints, ``atomic`` writes files, ``guard`` turns what a file's content raises
into our errors, ``cache`` is the user's cache folder.
"""
