"""The ledger: an append-only Merkle log of facts, signed once durable, cosigned by the city.

`writer` is its only thread; `file`, `parts` and `hashes` are the disk, `log` and `history` read. Pure are
`leaf`, `merkle`, `checkpoint`, `wire` and `rollback`. `verifier` shares no code with the rest.
docs/ledger.md is the contract.
"""
