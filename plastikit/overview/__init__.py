"""Runs at a glance: a line for each, one on a page, a variable over its steps."""
