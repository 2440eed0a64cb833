"""The ring: sealed footage on disk, the oldest going first, and what is held beyond that.

* writing: `sink` picks the ring, `intake` takes credit, `writer` is the ring's thread, `appender` one
  segment, `store` the only hand that writes, syncs and unlinks
* retention: `plan` decides, `eviction` performs, `catalogue` remembers; `scanner` learns what earlier runs
  left
* reading: `reader` answers, `passage` and `shelf` find, `segment` and `index` trust nothing; `verification`
  examines all
* evidence: `hold`, `hold_copy`, `evidence`

docs/design/ring.md names the invariants (I1-I9) that the code cites, docs/format.md the bytes.
"""
