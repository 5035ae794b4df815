"""The Runner: a distributed task-group runner. This module imports nothing, so that `import runner` is free."""

__version__ = "0.1.0"
