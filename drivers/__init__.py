"""What runs a task type. `drivers.base` is all that a plugin author imports."""
