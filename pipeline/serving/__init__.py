"""Answers from a published release: recommend, search, compare, the sandbox for analysts, sessions of visitors.

Never imports Spark, never writes a release.
"""
