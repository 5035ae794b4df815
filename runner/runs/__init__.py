"""What `runner run` keeps on this machine, seen from beside: nothing here takes a lock or changes anything."""
