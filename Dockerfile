# JupyterLab with the lessons of locadv_tf: docker build --tag locadv_tf . (docs/container.md)
# The versions in constraints.txt are for Python 3.11 on Linux.
FROM python:3.11-slim

# A user without rights, and an environment that belongs to it.
RUN useradd --create-home --uid 1000 student \
    && python -m venv /opt/venv \
    && mkdir /lessons \
    && chown -R student:student /opt/venv /lessons
ENV PATH=/opt/venv/bin:$PATH
USER student

# First what takes minutes and seldom changes, then the kit.
WORKDIR /tmp/kit
COPY --chown=student:student constraints.txt pyproject.toml README.md LICENSE locadv.py ./
COPY --chown=student:student locadv_tf locadv_tf
COPY --chown=student:student notebooks notebooks
COPY --chown=student:student results/models results/models
RUN pip install --no-cache-dir --constraint constraints.txt .

# The lessons, each a notebook that may be changed: in a volume they stay.
WORKDIR /lessons
RUN locadv lessons --to /lessons
VOLUME /lessons
EXPOSE 8888
# JupyterLab makes a token and prints the address with it.
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
