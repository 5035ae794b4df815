"""Starting and owning operating-system processes. The contract is `drivers.base.ProcessHost`; `host` and `fake` implement it."""
