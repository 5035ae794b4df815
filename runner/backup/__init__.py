"""Copies of a state directory: taken while a node works on it or not, and made into a state directory again."""
