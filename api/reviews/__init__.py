"""Reviews: somebody else than its authors approves what is published."""
