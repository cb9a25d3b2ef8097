"""Hooks and optimizer wrappers."""
