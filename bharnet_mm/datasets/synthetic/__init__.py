"""The embedded synthetic sample: how its clips are made, filmed and bounded."""
