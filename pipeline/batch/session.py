"""The Spark session that the tables are made with."""

from pyspark.sql import SparkSession

# The tables depend on these. Settings that only make a run faster are in conf/spark-*.conf.
SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
}


def session(name: str) -> SparkSession:
    """Return the Spark session that the tables are made with; name: of the application."""
    builder = SparkSession.builder.appName(name)
    for key, value in SESSION.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
