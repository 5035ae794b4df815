"""Outputs kept under a key, so that a task need not run again."""
