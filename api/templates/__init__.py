"""Templates: workflows to begin with, the product's own and those of an organisation."""
