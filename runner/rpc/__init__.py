"""The gRPC service of a node."""
