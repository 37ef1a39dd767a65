"""Releases on disk: build, check, publish, roll back, pack, export and compare them.

Never imports Spark, never recommends.
"""
