"""Reviews: somebody else approves of exactly what is to be published."""
