"""``/dashboard/admin/*``: what the operator's people do about companies, in all regions."""
