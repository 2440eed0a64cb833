"""The offline verifier of evidence packages. Imports nothing of the agent; docs/evidence.md is all it knows.

`python -m edge_agent.verify FILE` needs this folder and `cryptography`, nothing else.
"""
