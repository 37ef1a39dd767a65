"""The run of a job: session, stages, progress, the release in the making, exit codes.

Never holds a formula: what is computed is in data, model and evaluation.
"""
