"""What a configuration is worth: splits, metrics, baselines, the ranking of many requests, and the report.

Never publishes, never answers a visitor.
"""
