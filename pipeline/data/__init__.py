"""Read, check, number and describe the input: Spark DataFrames in, checked tables out.

Never trains, never writes a release, never asks DuckDB.
"""
