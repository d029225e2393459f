"""The audit relay: carries entries from each region's outbox into the pipeline, until Kafka has acknowledged them (contract §8)."""
