"""The archive as it is read: parts, their index, and the events in them. ``sinks.archive`` writes it."""
