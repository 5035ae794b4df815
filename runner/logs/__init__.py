"""What tasks wrote."""
