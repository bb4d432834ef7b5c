"""Dockerfiles made into images; each RUN is a container like any other."""
