"""Turns ratings into a lookup table of neighbours (Spark) and the table into recommendations (DuckDB)."""
