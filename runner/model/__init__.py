"""The domain's values: frozen, keyword-only, changed by `dataclasses.replace`."""
