"""Metrics and score files."""

from .body_hand_metric import BodyHandMetric
from .scores import Scores, load_scores, save_scores

__all__ = ['BodyHandMetric', 'Scores', 'load_scores', 'save_scores']
