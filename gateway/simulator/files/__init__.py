"""The file store of the simulator: uploads, results, signed URLs."""
