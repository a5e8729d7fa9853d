"""The embedded corpus: voice commands in six languages, and their translations."""
