"""Converters from the forms in which data sets are published, one form a file."""
