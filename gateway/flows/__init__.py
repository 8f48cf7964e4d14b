"""One verb per file, each in the same beats: claim, act, decide, record, wake."""
