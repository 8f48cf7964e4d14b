"""Schema changes, applied by `gateway db upgrade`."""
