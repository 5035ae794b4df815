"""Tells somebody outside that a group is over: signed, at least once, tried again for a day."""
