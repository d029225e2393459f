"""The Grafana dashboard and the Prometheus rules, made from the metric list: ``python -m ops.monitoring`` writes both."""
