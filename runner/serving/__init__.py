"""A node as a service: from its start to its end, what it says on the way, and what the service manager is told."""
