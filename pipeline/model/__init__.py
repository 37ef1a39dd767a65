"""What is learned: item factors, vectors, content, popularity, neighbour lists and the map of the catalogue.

Never reads input files, never decides what is published; numeric kernels take arrays and know nothing of Spark.
"""
