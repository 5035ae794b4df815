"""Starting and owning operating-system processes: `host` and its twin `fake` implement `drivers.base.ProcessHost`."""
