"""Consumers of the events topic, a folder each: webhooks, archive, search, SIEM."""
