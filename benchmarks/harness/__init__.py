"""Run suites of searches, resumably, and store a row for each."""
