"""What a node counts and traces of its own work, for those who want to know. Nothing of it is there, nor imported, unless it is asked for."""
