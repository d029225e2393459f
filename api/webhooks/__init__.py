"""``/v1/webhooks``: a company's endpoints, what was delivered to them, and delivering it again (contract §4)."""
