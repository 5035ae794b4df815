"""Generated from `proto/runner/v1` by `make protos`."""
