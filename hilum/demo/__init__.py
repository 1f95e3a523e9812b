"""Synthetic studies to try a node with: pictures that look like something, people who do not exist.

Pixels and headers only; sending them is `hilum.cli.demo`'s.
"""
