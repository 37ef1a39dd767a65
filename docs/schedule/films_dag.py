"""The nightly run in Airflow, a task for each stage; the last one publishes.

Airflow's environment says where the project lies (FILMS, else /opt/films) and which options its jobs take
(FILMS_OPTIONS, else those of the nightly run). A task fails with its job's exit code, and those after it do not run.
"""

import os
from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

FOLDER = os.environ.get("FILMS", "/opt/films")
OPTIONS = os.environ.get("FILMS_OPTIONS", "--conf docs/schedule/nightly.yaml")
COMMANDS = {
    "feedback": ".venv/bin/python -m pipeline feedback --out incoming/visitors.csv",
    "train": f"./spark-submit.sh jobs/train_als.py {OPTIONS}",
    "evaluate": f"./spark-submit.sh jobs/evaluate.py {OPTIONS}",
    "publish": f"./spark-submit.sh jobs/build_neighbours.py {OPTIONS}",
}

# One run at a time, and one task: they write into the same warehouse.
with DAG("films", schedule="15 3 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1) as dag:
    before = None
    for name, command in COMMANDS.items():
        task = BashOperator(task_id=name, bash_command=command, cwd=FOLDER, do_xcom_push=False)
        if before:
            before >> task
        before = task
