"""``/dashboard/*``: what a service that vouches for its users asks for them. Routes of /v1 under another entrance, and some of its own."""
