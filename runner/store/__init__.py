"""What survives a crash: groups, tasks, attempts, events."""
