"""The engine in a world where time, failure and chance are chosen: to test it, and the drivers and rules built upon it.

`python -m runner.simulator --seeds 0:1000` plays random task groups against random crashes and compares what became of them
with `reference`, a model that is too simple to be wrong in the same way.
"""
