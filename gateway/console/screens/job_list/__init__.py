"""Parts of the list of jobs: columns, counts, saved views, exports, and acts on many jobs."""
