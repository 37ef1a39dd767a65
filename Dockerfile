# Three images of one file (docs/deploy.md):
#   docker build --target batch .    Java, Spark and the pipeline: makes releases
#   docker build --target page .     the page alone, for a warehouse that is mounted
#   docker build .                   the page with a release of the bundled data in it, made on the way
FROM python:3.11.13-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
# What is written to belongs to the user, all else to root. 1000 is the user that Hugging Face runs a container as.
RUN useradd --uid 1000 --create-home app \
    && mkdir warehouse sessions incoming logs \
    && chown app:app warehouse sessions incoming logs

FROM base AS batch
# libgomp1: what implicit was compiled to use. Unpinned, since Debian keeps no older versions.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*
COPY setup.sh requirements.txt pyproject.toml ./
# Bytecode is made here: a container cannot keep what it makes.
RUN bash -c 'set -eu; ROOT=/app; . ./setup.sh; setup_python requirements.txt; "$PYTHON" -m compileall -q -j 0 .venv/lib'
# Spark's own commands, which start a master or a worker, look for their Python on the PATH.
ENV PATH=/app/.venv/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
COPY spark-submit.sh ./
COPY conf conf
COPY pipeline pipeline
COPY jobs jobs
COPY data data
USER 1000
VOLUME ["/app/warehouse", "/app/logs"]
ENTRYPOINT ["./spark-submit.sh"]

FROM batch AS release
# In a folder that is no volume: what a build writes to a volume is lost. With an address none is made: the page fetches
# that release as it starts. Render and Spaces hand the variables of the service to the build, too.
ARG RELEASE_URL=
RUN mkdir /home/app/warehouse \
    && if [ -z "$RELEASE_URL" ]; then ./spark-submit.sh --set warehouse.dir=/home/app/warehouse; fi

FROM base AS page
COPY setup.sh requirements-serving.txt ./
COPY hosting/install.sh hosting/
RUN ./hosting/install.sh .venv
COPY .streamlit .streamlit
COPY conf conf
COPY pipeline pipeline
COPY app app
USER 1000
ENV PORT=8501
EXPOSE 8501
VOLUME ["/app/sessions"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s \
    CMD ["sh", "-c", "exec .venv/bin/python -m pipeline ready http://127.0.0.1:$PORT"]
# Options of the page may follow: docker run IMAGE --set page.sql=true. Hosts that choose a port say so in PORT.
ENTRYPOINT ["sh", "-c", "exec .venv/bin/python -m streamlit run app/server.py --server.address 0.0.0.0 --server.port \"$PORT\" -- \"$@\"", "page"]

FROM page AS site
COPY --from=release --chown=app:app /home/app/warehouse warehouse
