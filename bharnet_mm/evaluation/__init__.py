"""Metrics and score files."""

from ..lazy import attributes

PLACES = {
    'BodyHandMetric': '.body_hand_metric',
    'Scores': '.scores',
    'load_scores': '.scores',
    'save_scores': '.scores',
}
__getattr__, __dir__, __all__ = attributes(__name__, PLACES)
