"""The embedded synthetic sample: its clips, its videos and the ceilings of its accuracy."""
