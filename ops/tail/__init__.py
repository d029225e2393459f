"""``hyrelog tail``: a client of the live tail. It needs a URL and a key, and nothing else of a HyreLog."""
