"""Inference and visualisation."""
