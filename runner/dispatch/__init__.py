"""Where an attempt runs: here, or on another runner."""
