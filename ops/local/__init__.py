"""The embedded stack: Kafka, PostgreSQL, an S3 store and our own processes, on one machine and in one directory."""
