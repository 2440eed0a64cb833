"""Evidence packages: one zip that proves itself offline. docs/evidence.md is the contract."""
