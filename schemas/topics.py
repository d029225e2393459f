"""Regions and the names of Kafka topics (contract §6)."""

from __future__ import annotations

from enum import StrEnum


class Region(StrEnum):
    """Where a company's data lives. The value is the ``dataRegion`` of its events."""

    US = "US"
    EU = "EU"
    UK = "UK"
    AU = "AU"

    def lower(self) -> str:
        """The region as it stands in topic, bucket, database and key names."""
        return self.value.lower()


REGIONS = tuple(Region)


def ingest_topic(region: Region) -> str:
    """Envelopes of accepted events; internal, written by ingest and the audit relay."""
    return f"hyrelog.{region.lower()}.ingest"


def events_topic(region: Region) -> str:
    """One record an event, in seq order per workspace; public, written by streams."""
    return f"hyrelog.{region.lower()}.events"


def rejected_topic(region: Region) -> str:
    """What could not be stored, with the reason; written by streams."""
    return f"hyrelog.{region.lower()}.rejected"


def archive_topic(region: Region) -> str:
    """Archival work; internal, written by the scheduler."""
    return f"hyrelog.{region.lower()}.archive"
