"""What the agent costs: `python -m bench`. docs/bench.md has the figures and how they are taken."""
