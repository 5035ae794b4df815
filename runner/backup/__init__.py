"""Copies of a state directory: taken while a node works on it or not, and made into a state directory again."""

RESTORED = "restored"
"""A file in the state directory: its groups that are not over were not over when a backup was taken."""
