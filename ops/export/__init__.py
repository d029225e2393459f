"""``hyrelog export``: a client of exports that ends with a whole file, or says why not. It needs a URL and a key, and nothing else."""
