"""What a stored position and the brokers' word of the log tell of a partition: can it go on by itself?"""

from __future__ import annotations

from ops.kafka import Bounds, Topic
from streams.store import Source


def contradiction(source: Source, topic: Topic, bounds: Bounds) -> str | None:
    """Why a partition can't go on by itself: what is next is not in the log, or it is another log. ``None`` when all is well."""
    next_offset = source.next_offset - source.offset_base
    if source.topic_id != topic.id:
        return f"TOPIC_RECREATED: the topic is {topic.id}, the stored position is one of {source.topic_id}"
    if bounds.end < next_offset:
        return f"LOG_BEHIND: the log ends at {bounds.end}, the stored position is {next_offset}"
    if bounds.start > next_offset:
        return f"LOG_TRUNCATED: the log starts at {bounds.start}, the stored position is {next_offset}"
    return None
